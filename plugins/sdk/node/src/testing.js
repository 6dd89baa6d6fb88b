import { encodeAccess, encodeMessageAnswer } from "./answers.js";
import { Call } from "./call.js";
import { newProperty, newTopicFilter } from "./requests.js";
import { methods } from "./hooks.js";
import { didYouMean } from "./nearest.js";
import { Handler } from "./plugin.js";

/** What the lists of requests hold. @type {Record<string, () => any>} */
const elements = { props: newProperty, userProps: newProperty, topicFilters: newTopicFilter };

/**
 * Starts a plugin in this process, for tests.
 * @param {any} plugin
 * @param {{ config?: object }} [options]
 */
export async function start(plugin, options = {}) {
  const handler = new Handler(plugin, JSON.stringify(options.config ?? {}));
  await handler.start();
  /** @type {any} */
  const tested = {
    plugin: handler.plugin,
    hooks: handler.hooks.map((r) => r.hook),
    topics: handler.topics,
    stop: () => handler.stop(),
  };
  for (const row of methods) {
    tested[row.method] = (/** @type {any} */ some = {}, /** @type {any} */ callOptions = {}) => run(handler.plugin, row, some, callOptions);
  }
  return tested;
}

/**
 * @param {any} plugin
 * @param {import("./hooks.js").Row} row
 * @param {any} some
 * @param {{ timeout?: number, signal?: AbortSignal }} options
 */
async function run(plugin, row, some, { timeout = Infinity, signal }) {
  if (!plugin[row.method]) throw new Error(`the plugin has no method ${row.method}, so hookmux never calls it`);
  const request = fill(row.empty(), some, row.method);
  const { result } = request;
  const call = new Call(row.hook, performance.now() + timeout, "");
  const cancel = () => call.cancel();
  if (signal?.aborted) cancel();
  signal?.addEventListener("abort", cancel);
  try {
    const answer = await plugin[row.method](request, call);
    if (row.kind === "access") encodeAccess(answer, result);
    if (row.kind === "message") encodeMessageAnswer(answer, Buffer.alloc(0), row.message);
    return row.kind === "nothing" ? undefined : answer;
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.end();
  }
}

/**
 * Puts some values into an object of zero values.
 * @param {any} into
 * @param {any} some
 * @param {string} path
 */
function fill(into, some, path) {
  for (const [key, value] of Object.entries(some)) {
    const zero = into[key];
    const where = `${path}: ${key}`;
    if (value === undefined) continue;
    if (zero === undefined) throw new Error(`${where}: there is no such field${didYouMean(key, Object.keys(into))}; there are ${Object.keys(into).join(", ")}`);
    if (Buffer.isBuffer(zero)) {
      into[key] = Buffer.from(value);
    } else if (Array.isArray(zero)) {
      into[key] = value.map((/** @type {any} */ v) => fill(elements[key](), v, where));
    } else if (key === "headers") {
      into[key] = { ...value };
    } else if (typeof zero === "object") {
      fill(zero, value, where);
    } else if (typeof value !== typeof zero) {
      throw new Error(`${where} is a ${typeof zero}, not a ${typeof value}`);
    } else {
      into[key] = value;
    }
  }
  return into;
}
