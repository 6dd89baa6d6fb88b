package io.github.hookmux;

import java.util.Arrays;
import java.util.List;

/** What hookmux and a plugin agree on before the first call; proto/handshake has the same in Go. */
final class Env {
  private static final String COOKIE = "HOOKMUX_PLUGIN";
  private static final String COOKIE_VALUE = "9f6cf0b2-exhook";

  /** App protocol versions: the plain service, and batches on two streams. */
  static final int UNARY = 1;

  static final int STREAM = 2;

  private Env() {}

  static boolean underHookmux() {
    return COOKIE_VALUE.equals(System.getenv(COOKIE));
  }

  /** The plugin's config as JSON. */
  static String config() {
    String config = System.getenv("HOOKMUX_CONFIG");
    return config == null || config.isEmpty() ? "{}" : config;
  }

  static String name(Plugin plugin) {
    String name = System.getenv("HOOKMUX_NAME");
    return name == null || name.isEmpty() ? plugin.getClass().getSimpleName() : name;
  }

  /** The folder for the socket; null: anywhere. */
  static String socketDir() {
    String dir = System.getenv("PLUGIN_UNIX_SOCKET_DIR");
    return dir == null || dir.isEmpty() ? null : dir;
  }

  /** The highest app protocol that both know. As go-plugin does, a host that says none gets the first. */
  static int protocol(String offered) {
    if (offered == null || offered.isBlank()) {
      return UNARY;
    }
    List<String> versions = Arrays.stream(offered.split(",")).map(String::trim).toList();
    for (int v : new int[] {STREAM, UNARY}) {
      if (versions.contains(Integer.toString(v))) {
        return v;
      }
    }
    throw new IllegalArgumentException(
        "hookmux offers the app protocols " + offered + ", and this plugin's SDK knows 1 and 2");
  }
}
