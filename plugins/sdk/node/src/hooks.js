import * as requests from "./requests.js";

/**
 * What a hook's method answers.
 * @typedef {"access" | "message" | "nothing"} Kind
 */

/**
 * @typedef {object} Row
 * @property {string} method
 * @property {string} rpc
 * @property {string} hook the broker's name for it; "" for what is no hook of the broker
 * @property {Kind} kind
 * @property {(r: import("./protobuf.js").Reader) => any} read
 * @property {() => any} empty a request in which nothing is set
 * @property {number} message number of the request's message field; 0: none
 */

/**
 * Every method that answers an event. The place in the list is the number of the
 * hook in hookmux.plugin.v1.
 * @type {(Row | undefined)[]}
 */
export const rows = [
  undefined,
  row("ProviderLoaded", "", "nothing"),
  row("ProviderUnloaded", "", "nothing"),
  row("ClientConnect", "client.connect", "nothing"),
  row("ClientConnack", "client.connack", "nothing"),
  row("ClientConnected", "client.connected", "nothing"),
  row("ClientDisconnected", "client.disconnected", "nothing"),
  row("ClientAuthenticate", "client.authenticate", "access"),
  row("ClientAuthorize", "client.authorize", "access"),
  row("ClientSubscribe", "client.subscribe", "nothing"),
  row("ClientUnsubscribe", "client.unsubscribe", "nothing"),
  row("SessionCreated", "session.created", "nothing"),
  row("SessionSubscribed", "session.subscribed", "nothing"),
  row("SessionUnsubscribed", "session.unsubscribed", "nothing"),
  row("SessionResumed", "session.resumed", "nothing"),
  row("SessionDiscarded", "session.discarded", "nothing"),
  row("SessionTakenover", "session.takenover", "nothing"),
  row("SessionTerminated", "session.terminated", "nothing"),
  row("MessageIngress", "message.ingress", "message", 2),
  row("MessagePublish", "message.publish", "message", 1),
  row("MessageDelivered", "message.delivered", "nothing", 2),
  row("MessageDropped", "message.dropped", "nothing", 1),
  row("MessageAcked", "message.acked", "nothing", 2),
];

/** The rows without the hole. */
export const methods = /** @type {Row[]} */ (rows.slice(1));

/** The hooks of messages, which can be limited to topics. */
export const messageHooks = methods.filter((r) => r.message > 0).map((r) => r.hook);

/**
 * @param {string} name
 * @param {string} hook
 * @param {Kind} kind
 * @returns {Row}
 */
function row(name, hook, kind, message = 0) {
  const functions = /** @type {Record<string, any>} */ (requests);
  return {
    method: `on${name}`, rpc: `On${name}`, hook, kind, message,
    read: functions[`read${name}Request`], empty: functions[`new${name}Request`],
  };
}
