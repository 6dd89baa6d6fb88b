package io.github.hookmux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.util.TreeMap;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import org.junit.jupiter.api.Test;

class LogTest {
  private static String line(Level level, String message, Throwable thrown, Object... parameters) throws Exception {
    LogRecord r = new LogRecord(level, message);
    r.setInstant(java.time.Instant.EPOCH);
    r.setLoggerName("a.B");
    r.setParameters(parameters);
    r.setThrown(thrown);
    return Log.line(r);
  }

  @Test
  void levelsAndAttributes() throws Exception {
    assertEquals("{\"time\":\"1970-01-01T00:00:00Z\",\"level\":\"WARN\",\"msg\":\"slow \\\"x\\\"\\n\",\"logger\":\"a.B\",\"b\":true,\"n\":1.5,\"s\":\"a\"}\n",
        line(Level.WARNING, "slow \"x\"\n", null, new TreeMap<>(Map.of("n", 1.5, "s", "a", "b", true))));
    assertTrue(line(Level.SEVERE, "m", null).contains("\"level\":\"ERROR\""));
    assertTrue(line(Level.FINE, "m", null).contains("\"level\":\"DEBUG\""));
    assertTrue(line(Level.INFO, "user {0} of {1}", null, "a", 2).contains("\"msg\":\"user a of 2\""));
    assertTrue(line(Level.INFO, "m", null, Map.of("x", Double.NaN)).contains("\"x\":\"NaN\""));
  }

  @Test
  void aLineFitsHookmux() throws Exception {
    Exception deep = new IllegalStateException("x".repeat(20_000), new RuntimeException("the cause"));
    String line = line(Level.SEVERE, "y".repeat(20_000), deep);
    assertTrue(line.length() < 8 << 10, () -> "" + line.length());
    assertTrue(line(Level.SEVERE, "m", new IllegalStateException("x", new RuntimeException("the cause"))).contains("caused by java.lang.RuntimeException: the cause"));
  }
}
