package dev.slipway.application;

import java.sql.Connection;
import java.sql.SQLException;
import org.postgresql.ds.PGSimpleDataSource;

/**
 * Asks again while no host lets it in. A pool does so by itself, but HikariCP doubles its pause after each refusal (up to 5
 * seconds), so that an outage goes on in the application for as long as half of it again.
 */
final class RetryingDataSource extends PGSimpleDataSource {
  private static final long serialVersionUID = 1;
  private static final long PAUSE_MILLIS = 50;

  private final long patienceMillis;

  RetryingDataSource(long patienceMillis) {
    this.patienceMillis = patienceMillis;
  }

  @Override
  public Connection getConnection(String user, String password) throws SQLException {
    long begun = System.nanoTime();
    while (true) {
      try {
        return super.getConnection(user, password);
      } catch (SQLException refused) {
        if ((System.nanoTime() - begun) / 1_000_000 > patienceMillis) {
          throw refused;
        }
        try {
          Thread.sleep(PAUSE_MILLIS);
        } catch (InterruptedException closing) {
          Thread.currentThread().interrupt();
          throw refused;
        }
      }
    }
  }
}
