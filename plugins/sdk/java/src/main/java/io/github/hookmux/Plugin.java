package io.github.hookmux;

import io.github.hookmux.exhook.v3.Message;
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

/**
 * The base class of plugins: extend it, override the hooks you need and no others, and {@link
 * #serve serve} it from main.
 *
 * <pre>{@code
 * public class NoGuests extends Plugin {
 *   @Override
 *   public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context) {
 *     return request.getClientinfo().getUsername().equals("guest") ? deny().asFinal() : noOpinion();
 *   }
 *
 *   public static void main(String[] args) {
 *     new NoGuests().serve();
 *   }
 * }
 * }</pre>
 *
 * <p>Only hooks that are overridden are called, be it by the class itself or by one it inherits from.
 * A method whose name begins with "on" and an upper-case letter and that overrides nothing is an
 * error at start: a hook that is never called would be a hole nobody sees.
 *
 * <p><b>Answers.</b> An exception or null is no answer: for this call hookmux then follows the
 * plugin's failure policy, which is deny unless configured otherwise. It does not end the process.
 * RuntimeExceptions and Errors are logged with their stack, checked exceptions are not.
 *
 * <p><b>Threads.</b> Hooks are called from many threads at once: guard what they share. Notifications
 * of one client come one after another, in order; those of different clients, and decisions, have no
 * order between them. Up to 16 notifications and 1,024 decisions run at a time, and decisions do not
 * wait for notifications. A hook is never interrupted, since an interrupt closes channels and database
 * files: it is to look at its {@link Context}.
 *
 * <p><b>Printing and logging.</b> What goes to System.out is logged by hookmux, and so is what goes to
 * System.err; {@link #log} and every other System.Logger or java.util.logging Logger keep level and
 * attributes. Never log a password.
 */
public abstract class Plugin {
  static {
    Stdio.leaveStdout(); // before main of the class that extends this one
  }

  /** Logs into hookmux's log. A map as the only parameter becomes the line's attributes. */
  protected final System.Logger log = System.getLogger(getClass().getName());

  String config; // JSON, set by a Harness; null: the environment's

  /** Called once, before the first event. An exception ends the plugin; hookmux shows its message. */
  public void onStart() throws Exception {}

  /** Called once, after the last event. It has a second and a half. */
  public void onStop() throws Exception {}

  /** A broker node has begun to send events; comes again for each. */
  public void onProviderLoaded(ProviderLoadedRequest request, Context context) throws Exception {}

  /** A broker node sends no more events. */
  public void onProviderUnloaded(ProviderUnloadedRequest request, Context context) throws Exception {}

  /** client.connect: a CONNECT packet arrived; nothing is decided yet. */
  public void onClientConnect(ClientConnectRequest request, Context context) throws Exception {}

  /** client.connack: the broker is about to send a CONNACK. */
  public void onClientConnack(ClientConnackRequest request, Context context) throws Exception {}

  /** client.connected: a client was let in. */
  public void onClientConnected(ClientConnectedRequest request, Context context) throws Exception {}

  /** client.disconnected: a client's connection has ended. */
  public void onClientDisconnected(ClientDisconnectedRequest request, Context context) throws Exception {}

  /** client.authenticate: may this client log in? Answer {@link #allow}, {@link #deny} or {@link #noOpinion}. */
  public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context) throws Exception {
    return noOpinion();
  }

  /** client.authorize: may this client publish or subscribe to a topic? Answer {@link #allow}, {@link #deny} or {@link #noOpinion}. */
  public Access onClientAuthorize(ClientAuthorizeRequest request, Context context) throws Exception {
    return noOpinion();
  }

  /** client.subscribe: a SUBSCRIBE packet, without the filters that were refused. */
  public void onClientSubscribe(ClientSubscribeRequest request, Context context) throws Exception {}

  /** client.unsubscribe: an UNSUBSCRIBE packet. */
  public void onClientUnsubscribe(ClientUnsubscribeRequest request, Context context) throws Exception {}

  /** session.created: a new session. */
  public void onSessionCreated(SessionCreatedRequest request, Context context) throws Exception {}

  /** session.subscribed: a session has subscribed to a topic filter. */
  public void onSessionSubscribed(SessionSubscribedRequest request, Context context) throws Exception {}

  /** session.unsubscribed: a session has unsubscribed from a topic filter. */
  public void onSessionUnsubscribed(SessionUnsubscribedRequest request, Context context) throws Exception {}

  /** session.resumed: a client took up its old session. */
  public void onSessionResumed(SessionResumedRequest request, Context context) throws Exception {}

  /** session.discarded: a session was thrown away for a clean start. */
  public void onSessionDiscarded(SessionDiscardedRequest request, Context context) throws Exception {}

  /** session.takenover: a session went to another connection. */
  public void onSessionTakenover(SessionTakenoverRequest request, Context context) throws Exception {}

  /** session.terminated: a session has ended. */
  public void onSessionTerminated(SessionTerminatedRequest request, Context context) throws Exception {}

  /** message.ingress: a message arrived, before authorization (EMQX 6.3). Answer {@link #pass}, {@link #rewrite} or {@link #drop}. */
  public Answer onMessageIngress(MessageIngressRequest request, Context context) throws Exception {
    return pass();
  }

  /** message.publish: a message is about to be published. Answer {@link #pass}, {@link #rewrite} or {@link #drop}. */
  public Answer onMessagePublish(MessagePublishRequest request, Context context) throws Exception {
    return pass();
  }

  /** message.delivered: a message goes to a subscriber. */
  public void onMessageDelivered(MessageDeliveredRequest request, Context context) throws Exception {}

  /** message.dropped: a message was dropped. */
  public void onMessageDropped(MessageDroppedRequest request, Context context) throws Exception {}

  /** message.acked: a subscriber acknowledged a message. */
  public void onMessageAcked(MessageAckedRequest request, Context context) throws Exception {}

  /** Yes; a later plugin may still say no. */
  protected static Access allow() {
    return Access.ALLOW;
  }

  /** No; a later plugin may still say yes, unless this is {@link Access#asFinal final}. */
  protected static Access deny() {
    return Access.DENY;
  }

  /** The decision stays as it is. */
  protected static Access noOpinion() {
    return Access.NO_OPINION;
  }

  /** The message stays as it is. */
  protected static Answer pass() {
    return Answer.PASS;
  }

  /** The message is not to be published; later plugins still see it. */
  protected static Answer drop() {
    return Answer.DROP;
  }

  /**
   * Later plugins, and the broker, see this message: {@code
   * rewrite(request.getMessage().toBuilder().setPayload(p).build())}. The broker takes topic, payload,
   * QoS and the header allow_publish, nothing else. A message that no broker could publish (no topic,
   * wildcards in it, QoS above 2) counts as an error.
   */
  protected static Answer rewrite(Message message) {
    return new Answer(Answer.Verb.REWRITE, message, false);
  }

  /**
   * The plugin's {@code config} from hookmux.yaml, as a record. Call it in {@link #onStart}.
   *
   * <p>A component maxClients is the key max_clients. Unknown keys, keys given twice and values of a wrong
   * type are errors that name the key. A key that is not there is null, 0 or false: the record's compact constructor is the place for defaults
   * and checks. Components are boolean, int, long, double, their boxes, String, {@link
   * java.time.Duration} ("250ms", "1h30m"), enums, records, and Lists and Maps (with String keys) of
   * these; Object takes anything.
   *
   * @throws IllegalArgumentException if the config is not right; the message says where and why
   */
  protected final <C extends Record> C config(Class<C> type) {
    return Config.read(config != null ? config : Env.config(), type);
  }

  /** The plugin's name in hookmux.yaml, or its class's without hookmux. */
  protected final String name() {
    return Env.name(this);
  }

  /**
   * Serves hookmux until it is told to stop, and then ends the process; it does not return. Started by
   * hand, it says what the plugin is and how hookmux starts it. Exit status: 0 after having been told
   * to stop (by hookmux, by SIGTERM, or by the end of the parent process), 1 if the plugin is wrong or
   * onStart or onStop fails, 2 if it was started by hand.
   */
  protected final void serve() {
    System.exit(Serving.run(this));
  }
}
