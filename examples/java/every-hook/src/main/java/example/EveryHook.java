package example;

import io.github.hookmux.Access;
import io.github.hookmux.Answer;
import io.github.hookmux.Context;
import io.github.hookmux.Plugin;
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
import io.github.hookmux.exhook.v3.TopicFilter;
import java.util.Arrays;
import java.util.stream.Collectors;

/** Prints every event, and leaves every decision to others. */
public class EveryHook extends Plugin {
  @Override
  public void onProviderLoaded(ProviderLoadedRequest r, Context context) {
    print("provider.loaded", r.getBroker().getVersion());
  }

  @Override
  public void onProviderUnloaded(ProviderUnloadedRequest r, Context context) {
    print("provider.unloaded", r.getMeta().getNode());
  }

  @Override
  public void onClientConnect(ClientConnectRequest r, Context context) {
    print("client.connect", r.getConninfo().getClientid());
  }

  @Override
  public void onClientConnack(ClientConnackRequest r, Context context) {
    print("client.connack", r.getConninfo().getClientid(), r.getResultCode());
  }

  @Override
  public void onClientConnected(ClientConnectedRequest r, Context context) {
    print("client.connected", r.getClientinfo().getClientid());
  }

  @Override
  public void onClientDisconnected(ClientDisconnectedRequest r, Context context) {
    print("client.disconnected", r.getClientinfo().getClientid(), r.getReason());
  }

  @Override
  public Access onClientAuthenticate(ClientAuthenticateRequest r, Context context) {
    print("client.authenticate", r.getClientinfo().getClientid(), r.getClientinfo().getUsername());
    return noOpinion();
  }

  @Override
  public Access onClientAuthorize(ClientAuthorizeRequest r, Context context) {
    print("client.authorize", r.getClientinfo().getClientid(), r.getType(), r.getTopic());
    return noOpinion();
  }

  @Override
  public void onClientSubscribe(ClientSubscribeRequest r, Context context) {
    print("client.subscribe", r.getClientinfo().getClientid(), r.getTopicFiltersList().stream().map(TopicFilter::getName).toList());
  }

  @Override
  public void onClientUnsubscribe(ClientUnsubscribeRequest r, Context context) {
    print("client.unsubscribe", r.getClientinfo().getClientid(), r.getTopicFiltersList().stream().map(TopicFilter::getName).toList());
  }

  @Override
  public void onSessionCreated(SessionCreatedRequest r, Context context) {
    print("session.created", r.getClientinfo().getClientid());
  }

  @Override
  public void onSessionSubscribed(SessionSubscribedRequest r, Context context) {
    print("session.subscribed", r.getClientinfo().getClientid(), r.getTopic());
  }

  @Override
  public void onSessionUnsubscribed(SessionUnsubscribedRequest r, Context context) {
    print("session.unsubscribed", r.getClientinfo().getClientid(), r.getTopic());
  }

  @Override
  public void onSessionResumed(SessionResumedRequest r, Context context) {
    print("session.resumed", r.getClientinfo().getClientid());
  }

  @Override
  public void onSessionDiscarded(SessionDiscardedRequest r, Context context) {
    print("session.discarded", r.getClientinfo().getClientid());
  }

  @Override
  public void onSessionTakenover(SessionTakenoverRequest r, Context context) {
    print("session.takenover", r.getClientinfo().getClientid());
  }

  @Override
  public void onSessionTerminated(SessionTerminatedRequest r, Context context) {
    print("session.terminated", r.getClientinfo().getClientid(), r.getReason());
  }

  @Override
  public Answer onMessageIngress(MessageIngressRequest r, Context context) {
    print("message.ingress", r.getMessage().getFrom(), r.getMessage().getTopic(), r.getMessage().getPayload().toStringUtf8());
    return pass();
  }

  @Override
  public Answer onMessagePublish(MessagePublishRequest r, Context context) {
    print("message.publish", r.getMessage().getFrom(), r.getMessage().getTopic(), r.getMessage().getPayload().toStringUtf8());
    return pass();
  }

  @Override
  public void onMessageDelivered(MessageDeliveredRequest r, Context context) {
    print("message.delivered", r.getClientinfo().getClientid(), r.getMessage().getTopic());
  }

  @Override
  public void onMessageDropped(MessageDroppedRequest r, Context context) {
    print("message.dropped", r.getMessage().getTopic(), r.getReason());
  }

  @Override
  public void onMessageAcked(MessageAckedRequest r, Context context) {
    print("message.acked", r.getClientinfo().getClientid(), r.getMessage().getTopic());
  }

  private static void print(String hook, Object... what) {
    System.out.println(hook + " " + Arrays.stream(what).map(Object::toString).collect(Collectors.joining(" ")));
  }

  public static void main(String[] args) {
    new EveryHook().serve();
  }
}
