package io.github.hookmux;

import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.logging.Formatter;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/** Writes java.util.logging's records, and so System.Logger's, as JSON lines that hookmux reads. */
final class Log extends Handler {
  // hookmux cuts a line at 8 KiB, and a line that is cut is no JSON any more.
  private static final int MESSAGE = 2000;
  private static final int STACK = 2500;
  private static final int FRAMES = 12; // of one exception

  private static final Logger OWN = Logger.getLogger("io.github.hookmux");

  // grpc-netty asks every socket for keepalive, and netty warns of unix sockets, which have none.
  private static final Logger SOCKET_OPTIONS = Logger.getLogger("io.netty.bootstrap.ServerBootstrap");

  private static final Formatter FORMATTER = new SimpleFormatter();

  private Log() {}

  /** Takes the place of the root logger's handlers. */
  static void install() {
    Logger root = Logger.getLogger("");
    for (Handler h : root.getHandlers()) {
      root.removeHandler(h);
    }
    root.addHandler(new Log());
    SOCKET_OPTIONS.setLevel(Level.SEVERE);
  }

  /** The SDK's own words. */
  static void error(String message, Map<String, ?> attributes, Throwable thrown) {
    LogRecord r = new LogRecord(Level.SEVERE, message);
    r.setLoggerName(OWN.getName());
    r.setParameters(new Object[] {attributes});
    r.setThrown(thrown);
    OWN.log(r);
  }

  @Override
  public void publish(LogRecord r) {
    if (!isLoggable(r)) {
      return;
    }
    try {
      byte[] line = line(r).getBytes(StandardCharsets.UTF_8);
      Stdio.stderr(line, line.length);
    } catch (IOException | RuntimeException e) {
      reportError(null, e, java.util.logging.ErrorManager.WRITE_FAILURE);
    }
  }

  static String line(LogRecord r) throws IOException {
    StringWriter out = new StringWriter(256);
    JsonWriter json = new JsonWriter(out);
    json.beginObject();
    json.name("time").value(r.getInstant().toString());
    json.name("level").value(level(r.getLevel()));
    json.name("msg").value(cut(FORMATTER.formatMessage(r), MESSAGE));
    if (r.getLoggerName() != null) {
      json.name("logger").value(r.getLoggerName());
    }
    Object[] parameters = r.getParameters();
    if (parameters != null && parameters.length == 1 && parameters[0] instanceof Map<?, ?> attributes) {
      for (Map.Entry<?, ?> a : attributes.entrySet()) {
        attribute(json.name(String.valueOf(a.getKey())), a.getValue());
      }
    }
    if (r.getThrown() != null) {
      json.name("error").value(cut(r.getThrown().toString(), MESSAGE));
      json.name("stack").value(stack(r.getThrown()));
    }
    json.endObject();
    return out.append('\n').toString();
  }

  private static void attribute(JsonWriter json, Object value) throws IOException {
    if (value instanceof Number n && Double.isFinite(n.doubleValue())) {
      json.value(n);
    } else if (value instanceof Boolean b) {
      json.value(b);
    } else {
      json.value(value == null ? null : cut(value.toString(), MESSAGE));
    }
  }

  private static String level(Level level) {
    int l = level.intValue();
    if (l >= Level.SEVERE.intValue()) {
      return "ERROR";
    }
    if (l >= Level.WARNING.intValue()) {
      return "WARN";
    }
    return l >= Level.INFO.intValue() ? "INFO" : "DEBUG";
  }

  private static String stack(Throwable thrown) {
    StringBuilder b = new StringBuilder();
    for (Throwable t = thrown; t != null && b.length() < STACK; t = t.getCause()) {
      if (t != thrown) {
        b.append("caused by ").append(cut(t.toString(), 300)).append('\n');
      }
      StackTraceElement[] frames = t.getStackTrace();
      for (int i = 0; i < Math.min(frames.length, FRAMES); i++) {
        if (frames[i].getClassName().equals(io.github.hookmux.Handler.class.getName())) {
          break; // what is below is ours
        }
        b.append("at ").append(frames[i]).append('\n');
      }
    }
    return cut(b.toString(), STACK);
  }

  private static String cut(String s, int limit) {
    return s == null || s.length() <= limit ? s : s.substring(0, limit) + "…";
  }

  @Override
  public void flush() {}

  @Override
  public void close() {}
}
