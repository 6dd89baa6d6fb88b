package io.github.hookmux;

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

/** The one table of hooks, in the order of hookmux.plugin.v1.Hook, whose number is the ordinal + 1. */
enum Hook {
  PROVIDER_LOADED("", "onProviderLoaded", ProviderLoadedRequest.class),
  PROVIDER_UNLOADED("", "onProviderUnloaded", ProviderUnloadedRequest.class),
  CLIENT_CONNECT("client.connect", "onClientConnect", ClientConnectRequest.class),
  CLIENT_CONNACK("client.connack", "onClientConnack", ClientConnackRequest.class),
  CLIENT_CONNECTED("client.connected", "onClientConnected", ClientConnectedRequest.class),
  CLIENT_DISCONNECTED("client.disconnected", "onClientDisconnected", ClientDisconnectedRequest.class),
  CLIENT_AUTHENTICATE("client.authenticate", "onClientAuthenticate", ClientAuthenticateRequest.class),
  CLIENT_AUTHORIZE("client.authorize", "onClientAuthorize", ClientAuthorizeRequest.class),
  CLIENT_SUBSCRIBE("client.subscribe", "onClientSubscribe", ClientSubscribeRequest.class),
  CLIENT_UNSUBSCRIBE("client.unsubscribe", "onClientUnsubscribe", ClientUnsubscribeRequest.class),
  SESSION_CREATED("session.created", "onSessionCreated", SessionCreatedRequest.class),
  SESSION_SUBSCRIBED("session.subscribed", "onSessionSubscribed", SessionSubscribedRequest.class),
  SESSION_UNSUBSCRIBED("session.unsubscribed", "onSessionUnsubscribed", SessionUnsubscribedRequest.class),
  SESSION_RESUMED("session.resumed", "onSessionResumed", SessionResumedRequest.class),
  SESSION_DISCARDED("session.discarded", "onSessionDiscarded", SessionDiscardedRequest.class),
  SESSION_TAKENOVER("session.takenover", "onSessionTakenover", SessionTakenoverRequest.class),
  SESSION_TERMINATED("session.terminated", "onSessionTerminated", SessionTerminatedRequest.class),
  MESSAGE_INGRESS("message.ingress", "onMessageIngress", MessageIngressRequest.class),
  MESSAGE_PUBLISH("message.publish", "onMessagePublish", MessagePublishRequest.class),
  MESSAGE_DELIVERED("message.delivered", "onMessageDelivered", MessageDeliveredRequest.class),
  MESSAGE_DROPPED("message.dropped", "onMessageDropped", MessageDroppedRequest.class),
  MESSAGE_ACKED("message.acked", "onMessageAcked", MessageAckedRequest.class);

  private static final Hook[] ALL = values();

  /** The broker's name for it; empty of what is no hook, but comes as one. */
  final String hook;

  /** The method of {@link Plugin}. */
  final String method;

  final Class<?> request;

  Hook(String hook, String method, Class<?> request) {
    this.hook = hook;
    this.method = method;
    this.request = request;
  }

  /** The hook with a number of hookmux.plugin.v1, or null. */
  static Hook of(int number) {
    return number >= 1 && number <= ALL.length ? ALL[number - 1] : null;
  }

  boolean isHook() {
    return !hook.isEmpty();
  }

  boolean isMessageHook() {
    return hook.startsWith("message.");
  }

  /** The RPC of emqx.exhook.v3.HookProvider. */
  String rpc() {
    return "O" + method.substring(1);
  }

  String returns() {
    return switch (this) {
      case CLIENT_AUTHENTICATE, CLIENT_AUTHORIZE -> "Access";
      case MESSAGE_PUBLISH, MESSAGE_INGRESS -> "Answer";
      default -> "void";
    };
  }

  String signature() {
    return "public " + returns() + " " + method + "(" + request.getSimpleName() + " request, Context context)";
  }
}
