/**
 * Plugins for hookmux, the sidecar of the MQTT broker EMQX: README.md shows how they
 * are written, run and tested.
 */
import type * as exhook from "./exhook.js";

export type * from "./exhook.js";

/** A result, or a promise of it. */
export type Awaitable<T> = T | Promise<T>;

/**
 * What is known of one call of a hook's method besides its request.
 */
export interface Call {
  /** The hook, as the broker names it: "message.publish". */
  readonly hook: string;
  /**
   * Names a notification that is delivered durably (`delivery: durable`): the same in
   * every attempt to deliver it, also after restarts, so that a method can tell a
   * repetition. Empty for all other events.
   */
  readonly eventId: string;
  /**
   * Milliseconds that are left; later answers count for nothing. Infinity if there is
   * no limit.
   */
  readonly remaining: number;
  /**
   * Is aborted when the time is over (TimeoutError) or nobody waits any more
   * (AbortError): hand it on to what the method calls.
   */
  readonly signal: AbortSignal;
}

/** An answer of an access hook. */
export interface Access {
  readonly verb: "allow" | "deny" | "no opinion";
  readonly isFinal: boolean;
  /** The same answer as the last word: no later plugin is asked. */
  final(): Access;
  /** In words, such as "deny" or "deny (final)". */
  toString(): string;
}

/** An answer of message.publish and message.ingress. */
export interface MessageAnswer {
  readonly verb: "pass" | "drop" | "rewrite";
  readonly isFinal: boolean;
  /** What was given to rewrite. */
  readonly message?: RewrittenMessage;
  /** The same answer as the last word: no later plugin is asked. */
  final(): MessageAnswer;
  /** In words, such as "drop" or "rewrite (final)". */
  toString(): string;
}

/** Yes; a later plugin may still say no. */
export const allow: Access;
/** No; a later plugin may still say yes, unless it is final. */
export const deny: Access;
/** The decision stays as it is. Made final, it stays so for good. */
export const noOpinion: Access;
/** The message stays as it is. Made final, it stays so for good. */
export const pass: MessageAnswer;
/** The message is not to be published; later plugins still see it. */
export const drop: MessageAnswer;

/** A message to publish: the request's, with changes. */
export type RewrittenMessage = Partial<Omit<exhook.Message, "payload">> & {
  topic: string;
  payload?: string | Uint8Array;
};

/**
 * Replaces the message: rewrite({ ...r.message, payload: "21 °C" }). The broker takes
 * QoS, topic, payload and the header allow_publish, and nothing else. A message that
 * no broker could publish (no topic, wildcards in it, QoS above 2) counts as an error.
 */
export function rewrite(message: RewrittenMessage): MessageAnswer;

/**
 * Thrown by a method: what it needs for the event, such as its database, is away; no fault of
 * the event. Delivered durably, the event is tried again as long as it takes, and not made
 * a dead letter; everywhere else it is an error like any other.
 */
export class Unavailable extends Error {
  constructor(message?: string, options?: { cause?: unknown });
}

/** Topic filters by the name of a message hook; a hook that is not there gets every topic. */
export type Topics = Partial<Record<
  "message.ingress" | "message.publish" | "message.delivered" | "message.dropped" | "message.acked",
  string[]
>>;

/**
 * The methods that a plugin may have. It is asked only about those that it has.
 * What a method throws, or rejects with, is that call's error: hookmux then follows
 * its failure policy, by default deny.
 */
export interface Hooks {
  /** Before the first event; what it throws ends the plugin. Check the config here. */
  onStart?(): Awaitable<void>;
  /** After the last event; it has 1.5 seconds. */
  onStop?(): Awaitable<void>;
  /** A broker node has loaded the plugin. It does not count as a hook. */
  onProviderLoaded?(r: exhook.ProviderLoadedRequest, call: Call): Awaitable<void>;
  /** A broker node has let go of the plugin. It does not count as a hook. */
  onProviderUnloaded?(r: exhook.ProviderUnloadedRequest, call: Call): Awaitable<void>;

  /** Whether a client may log in. */
  onClientAuthenticate?(r: exhook.ClientAuthenticateRequest, call: Call): Awaitable<Access>;
  /** Whether a client may publish to a topic, or subscribe to a filter; r.type says which. */
  onClientAuthorize?(r: exhook.ClientAuthorizeRequest, call: Call): Awaitable<Access>;
  /** What becomes of a message as its client sent it; it needs EMQX 6.3. */
  onMessageIngress?(r: exhook.MessageIngressRequest, call: Call): Awaitable<MessageAnswer>;
  /** What becomes of a message before it is routed. */
  onMessagePublish?(r: exhook.MessagePublishRequest, call: Call): Awaitable<MessageAnswer>;

  /** A CONNECT packet has come; nothing is decided yet. */
  onClientConnect?(r: exhook.ClientConnectRequest, call: Call): Awaitable<void>;
  /** A CONNACK is about to be sent. */
  onClientConnack?(r: exhook.ClientConnackRequest, call: Call): Awaitable<void>;
  /** A client was let in. */
  onClientConnected?(r: exhook.ClientConnectedRequest, call: Call): Awaitable<void>;
  /** A client is gone. */
  onClientDisconnected?(r: exhook.ClientDisconnectedRequest, call: Call): Awaitable<void>;
  /** A SUBSCRIBE packet, without the filters that were refused. */
  onClientSubscribe?(r: exhook.ClientSubscribeRequest, call: Call): Awaitable<void>;
  /** An UNSUBSCRIBE packet. */
  onClientUnsubscribe?(r: exhook.ClientUnsubscribeRequest, call: Call): Awaitable<void>;
  /** A new session. */
  onSessionCreated?(r: exhook.SessionCreatedRequest, call: Call): Awaitable<void>;
  /** A subscription was taken up. */
  onSessionSubscribed?(r: exhook.SessionSubscribedRequest, call: Call): Awaitable<void>;
  /** A subscription was given up. */
  onSessionUnsubscribed?(r: exhook.SessionUnsubscribedRequest, call: Call): Awaitable<void>;
  /** A client is back in its old session. */
  onSessionResumed?(r: exhook.SessionResumedRequest, call: Call): Awaitable<void>;
  /** A session was thrown away for a clean start. */
  onSessionDiscarded?(r: exhook.SessionDiscardedRequest, call: Call): Awaitable<void>;
  /** A session has moved to another connection. */
  onSessionTakenover?(r: exhook.SessionTakenoverRequest, call: Call): Awaitable<void>;
  /** A session has ended. */
  onSessionTerminated?(r: exhook.SessionTerminatedRequest, call: Call): Awaitable<void>;
  /** A message was sent to one subscriber. */
  onMessageDelivered?(r: exhook.MessageDeliveredRequest, call: Call): Awaitable<void>;
  /** A message reached nobody. */
  onMessageDropped?(r: exhook.MessageDroppedRequest, call: Call): Awaitable<void>;
  /** A subscriber has acknowledged a message. */
  onMessageAcked?(r: exhook.MessageAckedRequest, call: Call): Awaitable<void>;
}

/**
 * The base class of plugins. What stands under `config` in hookmux.yaml has the shape
 * that the class declares, and is this.config:
 *
 *     const shape = { perSecond: 10, topics: ["#"] };
 *     class Limit extends Plugin<ConfigOf<typeof shape>> {
 *       static config = shape;
 *     }
 */
export class Plugin<Config = {}> {
  constructor(config?: Config);
  readonly config: Config;
  /** Limits message hooks to topics; static topics = {…} does, if they do not depend on the config. */
  topics?(): Topics;
  /** Hooks that are pure; static pure = […] does, if they do not depend on the config. */
  pure?(): readonly string[];
}
export interface Plugin<Config = {}> extends Hooks {}

/** A class of plugins. */
export interface PluginClass<T extends Hooks = Hooks> {
  new (config: any): T;
  /** The shape of its config. */
  config?: Shape;
  topics?: Topics;
  pure?: readonly string[];
}

/** A plugin that is an object; `config` is the shape, and this.config has the values. */
export type PluginObject<S extends Shape> =
  Hooks & { config?: S; topics?: Topics | (() => Topics); pure?: readonly string[] | (() => readonly string[]) } & ThisType<Hooks & { config: ConfigOf<S> }>;

/**
 * Runs a plugin until it is told to stop, and then ends the process: with status 0
 * after having been told to (by hookmux, by SIGTERM or by the end of the parent process), 1 if
 * the plugin or its config is wrong or onStart fails, 2 if it was started by hand.
 */
export function serve<S extends Shape>(plugin: PluginClass | PluginObject<S>): void;

/**
 * What a config may hold: by each key a default, whose type it is; String, Number or
 * Boolean for what must be given; a list with such a thing, or with the defaults; another
 * such object; mapOf for keys of any name; or a function that gets the value, undefined if
 * there is none, and gives what it means or throws.
 */
export type Shape = { [key: string]: ShapeValue };
export type ShapeValue =
  | string | number | boolean | StringConstructor | NumberConstructor | BooleanConstructor
  | readonly ShapeValue[] | MapOf<any> | ((value?: any) => any) | Shape;

/** The type of a config of a shape. */
export type ConfigOf<S> = { readonly [K in keyof S]: ValueOf<S[K]> };
export type ValueOf<S> =
  S extends StringConstructor | string ? string
  : S extends NumberConstructor | number ? number
  : S extends BooleanConstructor | boolean ? boolean
  : S extends MapOf<infer V> ? Record<string, ValueOf<V>>
  : S extends (value?: any) => infer V ? V
  : S extends readonly (infer E)[] ? ValueOf<E>[]
  : ConfigOf<S>;

declare class MapOf<S> {
  private constructor();
  readonly shape: S;
}

/** An object with any keys, whose values are of that shape. */
export function mapOf<S extends ShapeValue>(shape: S): MapOf<S>;

/** Milliseconds of a span of time such as "250ms", "5s" or "1h30m"; also in a shape. */
export function duration(text: string): number;

/** hookmux's log; console writes there, too. */
export const log: {
  debug(msg: string, attrs?: Record<string, unknown>): void;
  info(msg: string, attrs?: Record<string, unknown>): void;
  warn(msg: string, attrs?: Record<string, unknown>): void;
  error(msg: string, attrs?: Record<string, unknown>): void;
};

/**
 * Whether a topic filter covers every topic that asked stands for: a topic, or a
 * filter that a client wants to subscribe to.
 */
export function covers(filter: string, asked: string): boolean;

/** Throws an error that says why a topic filter is not one that MQTT allows. */
export function checkFilter(filter: string): void;
