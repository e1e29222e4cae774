package dev.slipway.application;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.postgresql.ds.PGSimpleDataSource;

/**
 * An application as banks have them: a HikariCP pool over pgJDBC, and threads that write through it without a pause. What
 * became of each attempt is a line of JSON on stdout. It knows nothing of a migration: two hosts are in its URL, that is
 * all. It runs until its stdin ends.
 */
public final class Application {
  private static final int WRITERS = 8;

  private Application() {}

  /**
   * Takes APPLICATION_URL, APPLICATION_USER and APPLICATION_PASSWORD from the environment, and from APPLICATION_PATIENCE for
   * how many milliseconds the pool's source asks again by itself; 0 leaves that to the pool.
   */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    HikariConfig config = new HikariConfig();
    long patience = Long.parseLong(System.getenv("APPLICATION_PATIENCE"));
    if (patience > 0) {
      PGSimpleDataSource source = new RetryingDataSource(patience);
      source.setUrl(System.getenv("APPLICATION_URL"));
      source.setUser(System.getenv("APPLICATION_USER"));
      source.setPassword(System.getenv("APPLICATION_PASSWORD"));
      config.setDataSource(source);
    } else {
      config.setJdbcUrl(System.getenv("APPLICATION_URL"));
      config.setUsername(System.getenv("APPLICATION_USER"));
      config.setPassword(System.getenv("APPLICATION_PASSWORD"));
    }
    config.setMaximumPoolSize(WRITERS);
    config.setConnectionTimeout(1_000);
    config.setValidationTimeout(500);

    AtomicBoolean stopping = new AtomicBoolean();
    try (HikariDataSource pool = new HikariDataSource(config)) {
      // Keys of two runs must not meet.
      String prefix = Long.toString(ProcessHandle.current().pid());
      List<Thread> writers = new ArrayList<>();
      for (int number = 0; number < WRITERS; number++) {
        Thread writer = new Thread(new Writer(pool, prefix, number, stopping));
        writer.start();
        writers.add(writer);
      }
      while (System.in.read() >= 0) {
        // Nothing is said to it but the end.
      }
      stopping.set(true);
      for (Thread writer : writers) {
        writer.join();
      }
    }
  }
}
