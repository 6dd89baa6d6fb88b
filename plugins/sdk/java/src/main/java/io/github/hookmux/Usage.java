package io.github.hookmux;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** What a plugin says that was started by hand. */
final class Usage {
  private Usage() {}

  static String of(Handler handler) {
    String program = handler.plugin.getClass().getSimpleName();
    StringBuilder b = new StringBuilder(program)
        .append(" is a plugin of hookmux, a sidecar for the MQTT broker EMQX.\nIt answers:\n");
    handler.hooks.forEach((hook, declared) -> b.append("  ").append(hook.hook)
        .append(declared.topics().isEmpty() ? "" : "  (topics " + String.join(", ", declared.topics()) + ")")
        .append('\n'));
    String command = command().stream().map(a -> '"' + a + '"').collect(Collectors.joining(", "));
    return b.append(String.format("""

        hookmux starts it, by these lines in hookmux.yaml:

        providers:
          - name: %s
            command: [%s]
            config: {}
        """, program.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9_-]", "-"), command)).toString();
  }

  /** How this process was started. */
  private static List<String> command() {
    ProcessHandle.Info info = ProcessHandle.current().info();
    List<String> command = new ArrayList<>(List.of(info.command().orElse("java")));
    command.addAll(List.of(info.arguments().orElse(new String[] {"-jar", "PLUGIN.jar"})));
    return command;
  }
}
