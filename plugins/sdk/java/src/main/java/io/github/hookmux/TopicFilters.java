package io.github.hookmux;

import java.nio.charset.StandardCharsets;

/** MQTT topic filters. */
public final class TopicFilters {
  /** MQTT's limit of a topic. */
  static final int MAX_BYTES = 65535;

  private TopicFilters() {}

  /**
   * Checks that a filter is one MQTT allows; for filters that come from a config.
   *
   * @throws IllegalArgumentException if it is not; the message says why
   */
  public static void check(String filter) {
    if (filter == null || filter.isEmpty()) {
      throw new IllegalArgumentException("an empty topic filter");
    }
    int bytes = filter.getBytes(StandardCharsets.UTF_8).length;
    if (bytes > MAX_BYTES) {
      throw new IllegalArgumentException("a topic filter of " + bytes + " bytes, MQTT allows " + MAX_BYTES);
    }
    if (filter.indexOf('\0') >= 0) {
      throw bad(filter, "has a NUL");
    }
    if (filter.startsWith("$share/")) {
      throw bad(filter, "a message never has a shared subscription's name; write the filter behind it");
    }
    String[] levels = filter.split("/", -1);
    for (int i = 0; i < levels.length; i++) {
      String l = levels[i];
      if (l.equals("#") && i < levels.length - 1) {
        throw bad(filter, "# must be the last level");
      }
      if (!l.equals("#") && l.contains("#")) {
        throw bad(filter, "# must be a level of its own");
      }
      if (!l.equals("+") && l.contains("+")) {
        throw bad(filter, "+ must be a level of its own");
      }
    }
  }

  private static IllegalArgumentException bad(String filter, String why) {
    return new IllegalArgumentException("topic filter \"" + filter + "\": " + why);
  }

  /**
   * Whether the filter matches every topic that asked stands for. asked is a topic, or a filter that a
   * client wants to subscribe to: "a/+" covers "a/b" and "a/+", but neither "a/#" nor "a/b/c". As in
   * MQTT, "a/#" covers "a", and a wildcard in the first level covers nothing that begins with "$".
   */
  public static boolean covers(String filter, String asked) {
    if (asked.startsWith("$") && (filter.startsWith("+") || filter.startsWith("#"))) {
      return false;
    }
    String[] have = filter.split("/", -1);
    String[] want = asked.split("/", -1);
    for (int i = 0; ; i++) {
      if (i == have.length) {
        return i == want.length;
      }
      if (have[i].equals("#")) {
        return true;
      }
      if (i == want.length || want[i].equals("#") || !(have[i].equals("+") || have[i].equals(want[i]))) {
        return false;
      }
    }
  }
}
