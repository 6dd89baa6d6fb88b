import { encodeAccess, encodeMessageAnswer, unasked } from "./answers.js";
import { parseConfig } from "./config.js";
import { methods, rows } from "./hooks.js";
import { didYouMean, nearest } from "./nearest.js";
import { Malformed, Reader, Writer } from "./protobuf.js";
import { checkTopics } from "./topics.js";

/**
 * The base class of plugins. It has no hooks, since a method is one: a plugin is
 * asked about what it has a method for.
 */
export class Plugin {
  /** @param {any} config */
  constructor(config = {}) {
    this.config = config;
  }
}

/** A plugin that is wrong in itself, whatever its config is. */
export class PluginError extends Error {}

const nothing = Buffer.alloc(0);
const optional = ["onStart", "onStop"];
const named = [...methods.map((r) => r.method), ...optional];

/** What methods are called elsewhere: too far from the right name for the edit distance. */
const otherNames = new Map(Object.entries({
  onClientCheckAcl: "onClientAuthorize", onSessionTakeovered: "onSessionTakenover",
  onClientAuth: "onClientAuthenticate", onClientAuthn: "onClientAuthenticate", onClientAuthz: "onClientAuthorize",
  onAuthenticate: "onClientAuthenticate", onAuthorize: "onClientAuthorize", onConnect: "onClientConnect",
  onConnected: "onClientConnected", onDisconnected: "onClientDisconnected", onSubscribe: "onClientSubscribe",
  onUnsubscribe: "onClientUnsubscribe", onPublish: "onMessagePublish", onDelivered: "onMessageDelivered",
  onDropped: "onMessageDropped", onAcked: "onMessageAcked", onLoaded: "onProviderLoaded", onUnloaded: "onProviderUnloaded",
}));

/**
 * Answers every hook for one plugin, from bytes to bytes.
 */
export class Handler {
  /**
   * Throws a PluginError for what an author will want to know before the first
   * event does: a hook that is never called for a typing error would be a hole
   * nobody sees.
   * @param {any} given what was given to serve: a class, or an object
   * @param {string} config as JSON
   */
  constructor(given, config) {
    this.plugin = instantiate(given, config);
    this.hooks = hooksOf(this.plugin);
    this.topics = topicsOf(this.plugin, this.hooks);
    this.pure = pureOf(this.plugin, this.hooks);
    /** By number; a number without one is no hook that is known here. */
    this.methods = rows.map((row) => row && this.#method(row));
  }

  /** The encoded LoadedResponse: what the plugin wants to be called for. */
  loaded() {
    const w = new Writer();
    for (const { hook } of this.hooks) {
      const spec = new Writer().string(1, hook);
      for (const filter of this.topics[hook] ?? []) spec.string(2, filter);
      w.bytes(1, spec.varint(1000, Number(this.pure.includes(hook))).finish());
    }
    return w.finish();
  }

  async start() {
    await this.plugin.onStart?.();
  }

  async stop() {
    await this.plugin.onStop?.();
  }

  /**
   * The function that answers one hook. It throws, or its promise rejects, with
   * what the method does.
   * @param {import("./hooks.js").Row} row
   * @returns {(request: Buffer, call: import("./call.js").Call) => Buffer | Promise<Buffer>}
   */
  #method(row) {
    const { plugin } = this;
    const { method, read, message } = row;
    const loaded = row.rpc === "OnProviderLoaded" ? this.loaded() : nothing;
    if (typeof plugin[method] !== "function") {
      const answer = row.kind === "nothing" ? loaded : unasked;
      return () => answer;
    }
    /** @type {(answer: any, request: Buffer, result: boolean) => Buffer} */
    const encode =
      row.kind === "access" ? (answer, _, result) => encodeAccess(answer, result)
      : row.kind === "message" ? (answer, request) => encodeMessageAnswer(answer, request, message)
      : () => loaded;
    return (bytes, call) => {
      const request = readRequest(read, bytes);
      const { result } = request;
      const answer = plugin[method](request, call);
      if (typeof answer?.then === "function") return Promise.resolve(answer).then((a) => encode(a, bytes, result));
      return encode(answer, bytes, result);
    };
  }
}

/**
 * @param {(r: Reader) => any} read
 * @param {Buffer} bytes
 */
function readRequest(read, bytes) {
  try {
    return read(new Reader(bytes));
  } catch (err) {
    if (err instanceof Malformed) throw new Malformed(`decoding the request: ${err.message}`);
    throw err;
  }
}

/**
 * The plugin with its config: an instance of a class, or an object that has both.
 * @param {any} given
 * @param {string} config
 */
function instantiate(given, config) {
  if (typeof given === "function") {
    const values = parseConfig(config, given.config);
    const plugin = new given(values);
    if (plugin.config !== values) plugin.config = values;
    return plugin;
  }
  if (typeof given !== "object" || given === null) throw new PluginError(`a plugin is a class or an object, not ${given}`);
  const shape = given.constructor?.config ?? (given instanceof Plugin ? undefined : given.config);
  return Object.create(given, { config: { value: parseConfig(config, shape), writable: true, enumerable: true } });
}

/**
 * The names of all methods, also inherited ones and those that are properties.
 * @param {any} plugin
 */
function namesOf(plugin) {
  const names = new Set();
  for (let o = plugin; o && o !== Object.prototype && o !== Plugin.prototype; o = Object.getPrototypeOf(o)) {
    for (const name of Object.getOwnPropertyNames(o)) names.add(name);
  }
  return [...names];
}

/**
 * The hooks that a plugin, or a class's prototype, has methods for.
 * @param {any} plugin
 */
export function hooksOf(plugin) {
  const problems = [];
  for (const name of namesOf(plugin)) {
    if (named.includes(name)) {
      if (typeof plugin[name] !== "function" && plugin[name] !== undefined) problems.push(`${name} must be a method, not a ${typeof plugin[name]}`);
    } else if (/^[oO]n[A-Z]/.test(name)) {
      const meant = otherNames.get(name) ?? nearest(name, named);
      problems.push(`${name} is no hook; did you mean ${meant}? (a method that is meant to be something else must not begin with on)`);
    }
  }
  if (problems.length) throw new PluginError(problems.join("\n"));
  const hooks = methods.filter((r) => r.hook && typeof plugin[r.method] === "function");
  if (hooks.length === 0) throw new PluginError("the plugin has no hook: give it at least one method such as onClientConnected(r)");
  return hooks;
}

/**
 * What a plugin, or its class, says of itself: a value, or a method that gives it.
 * @param {any} plugin
 * @param {string} what
 */
function declared(plugin, what) {
  const given = plugin[what] ?? plugin.constructor?.[what];
  return typeof given === "function" ? given.call(plugin) : given;
}

/**
 * The hooks that a plugin says are pure.
 * @param {any} plugin
 * @param {import("./hooks.js").Row[]} hooks
 * @returns {string[]}
 */
function pureOf(plugin, hooks) {
  const pure = declared(plugin, "pure") ?? [];
  if (!Array.isArray(pure)) throw new PluginError('pure must be a list of hooks such as ["client.authorize"]');
  const valued = methods.filter((r) => r.kind !== "nothing").map((r) => r.hook);
  for (const hook of pure) {
    if (!valued.includes(hook)) throw new PluginError(`pure: ${hook} is no hook with an answer${didYouMean(String(hook), valued)}; those that are: ${valued.join(", ")}`);
    if (!hooks.some((r) => r.hook === hook)) throw new PluginError(`pure: the plugin has no method for ${hook}`);
  }
  return pure;
}

/**
 * @param {any} plugin
 * @param {import("./hooks.js").Row[]} hooks
 * @returns {Record<string, string[]>}
 */
function topicsOf(plugin, hooks) {
  const topics = declared(plugin, "topics") ?? {};
  try {
    checkTopics(topics, hooks);
  } catch (err) {
    throw new PluginError(/** @type {Error} */ (err).message);
  }
  return topics;
}

