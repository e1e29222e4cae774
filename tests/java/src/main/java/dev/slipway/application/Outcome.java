package dev.slipway.application;

import java.sql.SQLException;

/** What one attempt at a write came to. */
record Outcome(Kind kind, int port, String state, String reason) {
  private static final long STARTED = System.nanoTime();

  enum Kind {
    /** The commit was answered: the row is there. */
    ACKNOWLEDGED,
    /** No commit was sent, or it was answered with an error: the row is not there. */
    REFUSED,
    /** A commit was sent and the connection was lost before its answer: the row is there or it is not. */
    UNKNOWN
  }

  static Outcome acknowledged(int port) {
    return new Outcome(Kind.ACKNOWLEDGED, port, "", "");
  }

  /** Of an attempt that failed, before or after a commit was sent. */
  static Outcome failed(boolean commitSent, SQLException error) {
    String state = error.getSQLState() == null ? "" : error.getSQLState();
    // An ending session (57P01) says nothing of a commit that was under way: it may be durable all the same.
    boolean lost = state.isEmpty() || state.startsWith("08") || state.startsWith("57P0") || state.equals("40003");
    return new Outcome(commitSent && lost ? Kind.UNKNOWN : Kind.REFUSED, 0, state, String.valueOf(error.getMessage()));
  }

  /** One line of JSON, written whole: many threads share stdout. */
  void tell(String key, int writer) {
    String line =
        """
        {"at":%d,"key":"%s","writer":%d,"outcome":"%s","port":%d,"state":"%s","reason":"%s"}"""
            .formatted(
                (System.nanoTime() - STARTED) / 1_000_000,
                key,
                writer,
                kind.name().toLowerCase(java.util.Locale.ROOT),
                port,
                state,
                escaped(reason));
    System.out.println(line);
  }

  private static String escaped(String text) {
    return text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ");
  }
}
