import { messageHooks } from "./hooks.js";
import { didYouMean } from "./nearest.js";

/** MQTT's limit of a topic, in bytes. */
export const maxTopic = 65535;

/**
 * Whether a topic filter covers every topic that asked stands for. asked is a
 * topic, or a filter that a client wants to subscribe to: "a/+" covers "a/b" and
 * "a/+", but neither "a/#" nor "a/b/c". As in MQTT, "a/#" covers "a", and a
 * wildcard in the first level covers nothing that begins with "$".
 * @param {string} filter
 * @param {string} asked
 */
export function covers(filter, asked) {
  if (asked.startsWith("$") && /^[+#]/.test(filter)) return false;
  const have = filter.split("/");
  const want = asked.split("/");
  for (let i = 0; ; i++) {
    if (have[i] === "#") return true;
    if (want[i] === "#" || (have[i] !== "+" && have[i] !== want[i])) return false;
    if (i + 1 === want.length) return i + 1 === have.length || have[i + 1] === "#";
    if (i + 1 === have.length) return false;
  }
}

/**
 * Throws an error that says why a topic filter is not one that MQTT allows; for
 * filters from a config.
 * @param {string} filter
 */
export function checkFilter(filter) {
  if (typeof filter !== "string") throw new Error(`a topic filter must be a string, not ${typeof filter}`);
  if (filter === "") throw new Error("an empty topic filter");
  const bytes = Buffer.byteLength(filter);
  if (bytes > maxTopic) throw new Error(`a topic filter of ${bytes} bytes, MQTT allows ${maxTopic}`);
  const levels = filter.split("/");
  const wrong =
    filter.includes("\0") ? "has a NUL"
    : filter.startsWith("$share/") ? "a message never has a shared subscription's name; write the filter behind it"
    : levels.slice(0, -1).includes("#") ? "# must be the last level"
    : levels.some((l) => l !== "#" && l.includes("#")) ? "# must be a level of its own"
    : levels.some((l) => l !== "+" && l.includes("+")) ? "+ must be a level of its own"
    : "";
  if (wrong) throw new Error(`topic filter ${JSON.stringify(filter)}: ${wrong}`);
}

/**
 * Throws for topics that the broker would refuse or silently misunderstand.
 * @param {Record<string, string[]>} topics
 * @param {import("./hooks.js").Row[]} hooks those that the plugin has
 */
export function checkTopics(topics, hooks) {
  if (typeof topics !== "object" || topics === null || Array.isArray(topics)) {
    throw new Error('topics must be an object such as {"message.publish": ["a/#"]}');
  }
  for (const [hook, filters] of Object.entries(topics)) {
    if (!messageHooks.includes(hook)) {
      throw new Error(`topics: ${hook} cannot be limited to topics${didYouMean(hook, messageHooks)}; those that can: ${messageHooks.join(", ")}`);
    }
    if (!hooks.some((r) => r.hook === hook)) throw new Error(`topics: filters for ${hook}, but the plugin has no method for it`);
    if (!Array.isArray(filters)) throw new Error(`topics: ${hook} needs a list of topic filters`);
    if (filters.length === 0) throw new Error(`topics: an empty list for ${hook} would mean every topic; leave it out if that is meant`);
    for (const f of filters) {
      try {
        checkFilter(f);
      } catch (err) {
        throw new Error(`topics: ${hook}: ${/** @type {Error} */ (err).message}`);
      }
    }
  }
}
