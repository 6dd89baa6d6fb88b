package io.github.hookmux;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import io.github.hookmux.exhook.v3.ValuedResponse;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Runs a plugin in a unit test as the broker sees it, without hookmux and without a process: with all
 * checks that {@link Plugin#serve} makes, and its onStart and onStop.
 *
 * <pre>{@code
 * try (Harness login = Harness.start(new Login(), "{\"users\": {\"alice\": \"wonderland\"}}")) {
 *   ValuedResponse r = login.ask(ClientAuthenticateRequest.newBuilder()
 *       .setClientinfo(ClientInfo.newBuilder().setUsername("alice").setPassword("wonderland")).build());
 *   assertTrue(r.getBoolResult());
 * }
 * }</pre>
 *
 * <p>It may be used from many threads at once.
 */
public final class Harness implements AutoCloseable {
  private final Handler handler;
  private volatile Duration timeout = Duration.ofSeconds(5);

  private Harness(Handler handler) {
    this.handler = handler;
  }

  /** Starts a plugin without a config. */
  public static Harness start(Plugin plugin) throws Exception {
    return start(plugin, "{}");
  }

  /**
   * Starts a plugin with a config, as JSON.
   *
   * @throws IllegalArgumentException if the plugin is not right
   * @throws Exception what onStart throws
   */
  public static Harness start(Plugin plugin, String config) throws Exception {
    Harness harness = new Harness(new Handler(plugin));
    plugin.config = config;
    plugin.onStart();
    return harness;
  }

  /** Sets what the hooks called from now on have; 5 s at first. */
  public Harness timeout(Duration each) {
    timeout = each;
    return this;
  }

  /** The hooks the plugin wants, by name, with the topics they are limited to. */
  public Map<String, List<String>> hooks() {
    Map<String, List<String>> hooks = new LinkedHashMap<>();
    handler.hooks.forEach((hook, declared) -> hooks.put(hook.hook, declared.topics()));
    return hooks;
  }

  /**
   * Sends the request of client.authenticate, client.authorize, message.publish or message.ingress; the
   * answer is what the broker reads. The type of a plugin that has no opinion, or does not have the hook,
   * is IGNORE.
   *
   * @throws HookException if the plugin threw or gave no answer
   */
  public ValuedResponse ask(Message request) {
    Hook hook = hookOf(request);
    if (hook.returns().equals("void")) {
      throw new IllegalArgumentException(hook.method + " has no answer: tell it");
    }
    try {
      return ValuedResponse.parseFrom(call(hook, request));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Sends the request of a notification, and returns when the plugin has handled it.
   *
   * @throws HookException if the plugin threw
   */
  public void tell(Message request) {
    Hook hook = hookOf(request);
    if (!hook.returns().equals("void")) {
      throw new IllegalArgumentException(hook.method + " has an answer: ask it");
    }
    call(hook, request);
  }

  private static Hook hookOf(Message request) {
    return Arrays.stream(Hook.values())
        .filter(h -> h.request == request.getClass())
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException(request.getClass().getName() + " is no hook's request"));
  }

  private ByteString call(Hook hook, Message request) {
    try {
      return handler.call(hook, request.toByteString(), (CallContext) Context.within(timeout));
    } catch (Handler.Failure e) {
      throw new HookException(e.getMessage(), e.isUnavailable());
    }
  }

  /**
   * Calls onStop.
   *
   * @throws HookException if it throws
   */
  @Override
  public void close() {
    try {
      handler.plugin.onStop();
    } catch (Exception e) {
      throw new HookException("onStop: " + e, false);
    }
  }

  /** A call without an answer; the message is what hookmux gets to see. */
  public static final class HookException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final boolean unavailable;

    HookException(String message, boolean unavailable) {
      super(message);
      this.unavailable = unavailable;
    }

    /** Whether the hook has thrown {@link UnavailableException}. */
    public boolean isUnavailable() {
      return unavailable;
    }
  }
}
