package io.github.hookmux;

import com.google.protobuf.ByteString;
import io.github.hookmux.exhook.v3.HookSpec;
import io.github.hookmux.exhook.v3.LoadedResponse;
import io.github.hookmux.exhook.v3.Message;
import io.github.hookmux.exhook.v3.ValuedResponse;
import io.github.hookmux.exhook.v3.ClientAuthenticateRequest;
import io.github.hookmux.exhook.v3.ClientAuthorizeRequest;
import io.github.hookmux.exhook.v3.ClientConnackRequest;
import io.github.hookmux.exhook.v3.ClientConnectRequest;
import io.github.hookmux.exhook.v3.ClientConnectedRequest;
import io.github.hookmux.exhook.v3.ClientDisconnectedRequest;
import io.github.hookmux.exhook.v3.ClientSubscribeRequest;
import io.github.hookmux.exhook.v3.ClientUnsubscribeRequest;
import io.github.hookmux.exhook.v3.MessageAckedRequest;
import io.github.hookmux.exhook.v3.MessageDeliveredRequest;
import io.github.hookmux.exhook.v3.MessageDroppedRequest;
import io.github.hookmux.exhook.v3.MessageIngressRequest;
import io.github.hookmux.exhook.v3.MessagePublishRequest;
import io.github.hookmux.exhook.v3.ProviderLoadedRequest;
import io.github.hookmux.exhook.v3.ProviderUnloadedRequest;
import io.github.hookmux.exhook.v3.SessionCreatedRequest;
import io.github.hookmux.exhook.v3.SessionDiscardedRequest;
import io.github.hookmux.exhook.v3.SessionResumedRequest;
import io.github.hookmux.exhook.v3.SessionSubscribedRequest;
import io.github.hookmux.exhook.v3.SessionTakenoverRequest;
import io.github.hookmux.exhook.v3.SessionTerminatedRequest;
import io.github.hookmux.exhook.v3.SessionUnsubscribedRequest;
import io.grpc.Status;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;

/** Answers every RPC of the service for one plugin: encoded request in, encoded response out. */
final class Handler {
  /** Of a notification that was handled: EmptySuccess. */
  static final ByteString NOTHING = ByteString.EMPTY;

  private static final ByteString IGNORED = Answer.IGNORED.toByteString();

  final Plugin plugin;

  /** What the plugin overrides. */
  final EnumMap<Hook, Overrides.Declared> hooks;

  /** A failed call: its text is for hookmux. */
  static final class Failure extends Exception {
    private static final long serialVersionUID = 1;

    /** INTERNAL is the plugin's own fault, UNAVAILABLE what it needs is away, UNKNOWN the rest. */
    final transient Status status;

    Failure(String text, Status status) {
      super(shorten(text), null, false, false);
      this.status = status.withDescription(getMessage());
    }

    boolean isUnavailable() {
      return status.getCode() == Status.Code.UNAVAILABLE;
    }
  }

  /**
   * Checks the plugin.
   *
   * @throws IllegalArgumentException if it is not right
   */
  Handler(Plugin plugin) {
    this.plugin = plugin;
    this.hooks = Overrides.of(plugin.getClass());
  }

  /** Runs one call; never throws anything but Failure. */
  ByteString call(Hook hook, ByteString request, CallContext context) throws Failure {
    try {
      return run(hook, request, context);
    } catch (Failure e) {
      throw e;
    } catch (UnavailableException e) {
      throw new Failure(hook.method + ": " + textOf(e), Status.UNAVAILABLE);
    } catch (RuntimeException | Error e) {
      Log.error("exception in the plugin", Map.of("method", hook.method), e);
      throw new Failure(hook.method + " threw " + e, Status.INTERNAL);
    } catch (Exception e) {
      throw new Failure(e.toString(), Status.UNKNOWN);
    } finally {
      context.end();
    }
  }

  /** What it says, with its cause, which stands in no stack that is logged. */
  private static String textOf(UnavailableException e) {
    String text = Objects.requireNonNullElse(e.getMessage(), "no reason given");
    Throwable cause = e.getCause();
    return cause == null || text.contains(String.valueOf(cause.getMessage())) ? text : text + ": " + cause;
  }

  private ByteString run(Hook hook, ByteString request, CallContext context) throws Exception {
    if (hook == Hook.PROVIDER_LOADED) {
      plugin.onProviderLoaded(ProviderLoadedRequest.parseFrom(request), context);
      return loaded().toByteString();
    }
    if (hook != Hook.PROVIDER_UNLOADED && !hooks.containsKey(hook)) { // a call too many does no harm
      return hook.returns().equals("void") ? NOTHING : IGNORED;
    }
    switch (hook) {
      case PROVIDER_UNLOADED -> plugin.onProviderUnloaded(ProviderUnloadedRequest.parseFrom(request), context);
      case CLIENT_CONNECT -> plugin.onClientConnect(ClientConnectRequest.parseFrom(request), context);
      case CLIENT_CONNACK -> plugin.onClientConnack(ClientConnackRequest.parseFrom(request), context);
      case CLIENT_CONNECTED -> plugin.onClientConnected(ClientConnectedRequest.parseFrom(request), context);
      case CLIENT_DISCONNECTED -> plugin.onClientDisconnected(ClientDisconnectedRequest.parseFrom(request), context);
      case CLIENT_AUTHENTICATE -> {
        var r = ClientAuthenticateRequest.parseFrom(request);
        return access(plugin.onClientAuthenticate(r, context), r.getResult());
      }
      case CLIENT_AUTHORIZE -> {
        var r = ClientAuthorizeRequest.parseFrom(request);
        return access(plugin.onClientAuthorize(r, context), r.getResult());
      }
      case CLIENT_SUBSCRIBE -> plugin.onClientSubscribe(ClientSubscribeRequest.parseFrom(request), context);
      case CLIENT_UNSUBSCRIBE -> plugin.onClientUnsubscribe(ClientUnsubscribeRequest.parseFrom(request), context);
      case SESSION_CREATED -> plugin.onSessionCreated(SessionCreatedRequest.parseFrom(request), context);
      case SESSION_SUBSCRIBED -> plugin.onSessionSubscribed(SessionSubscribedRequest.parseFrom(request), context);
      case SESSION_UNSUBSCRIBED -> plugin.onSessionUnsubscribed(SessionUnsubscribedRequest.parseFrom(request), context);
      case SESSION_RESUMED -> plugin.onSessionResumed(SessionResumedRequest.parseFrom(request), context);
      case SESSION_DISCARDED -> plugin.onSessionDiscarded(SessionDiscardedRequest.parseFrom(request), context);
      case SESSION_TAKENOVER -> plugin.onSessionTakenover(SessionTakenoverRequest.parseFrom(request), context);
      case SESSION_TERMINATED -> plugin.onSessionTerminated(SessionTerminatedRequest.parseFrom(request), context);
      case MESSAGE_INGRESS -> {
        var r = MessageIngressRequest.parseFrom(request);
        return answer(plugin.onMessageIngress(r, context), r.getMessage());
      }
      case MESSAGE_PUBLISH -> {
        var r = MessagePublishRequest.parseFrom(request);
        return answer(plugin.onMessagePublish(r, context), r.getMessage());
      }
      case MESSAGE_DELIVERED -> plugin.onMessageDelivered(MessageDeliveredRequest.parseFrom(request), context);
      case MESSAGE_DROPPED -> plugin.onMessageDropped(MessageDroppedRequest.parseFrom(request), context);
      case MESSAGE_ACKED -> plugin.onMessageAcked(MessageAckedRequest.parseFrom(request), context);
      default -> throw new IllegalStateException(hook.method);
    }
    return NOTHING;
  }

  private static ByteString access(Access answer, boolean result) throws Failure {
    if (answer == null) {
      throw new Failure("neither an answer nor an exception: return allow(), deny() or noOpinion()", Status.INTERNAL);
    }
    return answer.wire(result).toByteString();
  }

  private static ByteString answer(Answer answer, Message message) throws Failure {
    if (answer == null) {
      throw new Failure("neither an answer nor an exception: return pass(), drop() or rewrite(message)", Status.INTERNAL);
    }
    try {
      ValuedResponse response = answer.wire(message);
      return response == Answer.IGNORED ? IGNORED : response.toByteString();
    } catch (IllegalArgumentException e) {
      throw new Failure(e.getMessage(), Status.INTERNAL);
    }
  }

  /** What the plugin wants to be called for. */
  LoadedResponse loaded() {
    LoadedResponse.Builder b = LoadedResponse.newBuilder();
    hooks.forEach((hook, declared) -> b.addHooks(
        HookSpec.newBuilder().setName(hook.hook).addAllTopics(declared.topics()).setPure(declared.pure())));
    return b.build();
  }

  /** One line of at most 300 characters: it travels in a header. */
  static String shorten(String s) {
    s = String.join(" ", s.trim().split("\\s+"));
    if (s.isEmpty()) {
      return "no reason given";
    }
    return s.length() <= 300 ? s : s.substring(0, 300) + "…";
  }
}
