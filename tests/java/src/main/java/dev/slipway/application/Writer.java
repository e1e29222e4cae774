package dev.slipway.application;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.sql.DataSource;

/**
 * Writes one row after the other, each with a key of its own. Whatever does not come to an acknowledged end is tried again
 * with the same key, as every application must that can't tell whether its commit was heard.
 */
record Writer(DataSource pool, String prefix, int number, AtomicBoolean stopping) implements Runnable {
  /** The port tells which of the two hosts it was: it is asked in the statement that writes. */
  private static final String WRITE =
      """
      WITH written AS (INSERT INTO application_writes (key, writer) VALUES (?, ?) ON CONFLICT (key) DO NOTHING)
      SELECT inet_server_port()""";

  private static final long PAUSE_MILLIS = 5;

  @Override
  public void run() {
    for (long row = 0; !stopping.get(); row++) {
      String key = prefix + "-" + number + "-" + row;
      while (!attempt(key) && !stopping.get()) {
        pause();
      }
      pause();
    }
  }

  private boolean attempt(String key) {
    // Half of them leave the commit to the statement, half say it themselves.
    boolean transaction = number % 2 == 1;
    boolean commitSent = false;
    Outcome outcome;
    try (Connection connection = pool.getConnection()) {
      connection.setAutoCommit(!transaction);
      commitSent = !transaction;
      int port = write(connection, key);
      if (transaction) {
        commitSent = true;
        connection.commit();
      }
      outcome = Outcome.acknowledged(port);
    } catch (SQLException error) {
      outcome = Outcome.failed(commitSent, error);
    }
    outcome.tell(key, number);
    return outcome.kind() == Outcome.Kind.ACKNOWLEDGED;
  }

  private int write(Connection connection, String key) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(WRITE)) {
      statement.setString(1, key);
      statement.setInt(2, number);
      try (ResultSet result = statement.executeQuery()) {
        result.next();
        return result.getInt(1);
      }
    }
  }

  private static void pause() {
    try {
      Thread.sleep(PAUSE_MILLIS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
