import { BYTES, Reader, varint, Writer } from "./protobuf.js";
import { maxTopic } from "./topics.js";

// ValuedResponse: type = 1, bool_result = 3, message = 4.
const CONTINUE = 0;
const IGNORE = 1;
const STOP_AND_RETURN = 2;

/** Message.headers, with which a message is refused. */
const refused = new Writer().bytes(8, new Writer().string(1, "allow_publish").string(2, "false").finish()).finish();

/**
 * An answer of a hook's method. There are only those that this module makes.
 */
export class Answer {
  /**
   * @param {"allow" | "deny" | "no opinion" | "pass" | "drop" | "rewrite"} verb
   * @param {boolean} isFinal
   * @param {any} message of rewrite
   */
  constructor(verb, isFinal = false, message = undefined) {
    this.verb = verb;
    this.isFinal = isFinal;
    if (message !== undefined) this.message = message;
    Object.freeze(this);
  }

  /** The same answer as the last word: no later plugin is asked. */
  final() {
    return new Answer(this.verb, true, this.message);
  }

  /** In words, such as "deny" or "deny (final)". */
  toString() {
    return this.isFinal ? `${this.verb} (final)` : this.verb;
  }
}

export const allow = new Answer("allow");
export const deny = new Answer("deny");
export const noOpinion = new Answer("no opinion");
export const pass = new Answer("pass");
export const drop = new Answer("drop");

/**
 * @param {any} message
 */
export function rewrite(message) {
  return new Answer("rewrite", false, message);
}

const ignored = new Writer().varint(1, IGNORE).finish();

/** The encoded answers of access hooks, which are a few bytes each. */
const decisions = [CONTINUE, STOP_AND_RETURN].map((type) => [0, 1].map((b) => Buffer.from([...(type ? [8, type] : []), 24, b])));

/**
 * The encoded ValuedResponse of an access hook.
 * @param {any} answer what the method gave
 * @param {boolean} result the decision so far
 */
export function encodeAccess(answer, result) {
  switch (answer instanceof Answer && answer.verb) {
    case "allow":
      return decisions[Number(answer.isFinal)][1];
    case "deny":
      return decisions[Number(answer.isFinal)][0];
    case "no opinion":
      return answer.isFinal ? decisions[1][Number(result)] : ignored;
  }
  throw new TypeError(`it must return allow, deny or noOpinion, and returned ${show(answer)}`);
}

/**
 * The encoded ValuedResponse of a message hook. Of a message that stays as it is
 * the bytes go back, not what the method may have done to the object.
 * @param {any} answer what the method gave
 * @param {Buffer} request
 * @param {number} field of the message in the request
 */
export function encodeMessageAnswer(answer, request, field) {
  switch (answer instanceof Answer && answer.verb) {
    case "pass":
      return answer.isFinal ? response(true, [messageOf(request, field)]) : ignored;
    case "drop":
      return response(answer.isFinal, [messageOf(request, field), refused]);
    case "rewrite":
      return response(answer.isFinal, encodeMessage(answer.message));
  }
  throw new TypeError(`it must return pass, drop or rewrite(message), and returned ${show(answer)}`);
}

/** The answer to a valued hook that the plugin does not have. */
export const unasked = ignored;

/**
 * @param {boolean} isFinal
 * @param {Buffer[]} message its parts
 */
function response(isFinal, message) {
  const w = new Writer().varint(1, isFinal ? STOP_AND_RETURN : CONTINUE);
  w.raw(Buffer.from(varint([(4 << 3) | BYTES], message.reduce((n, p) => n + p.length, 0))));
  for (const part of message) w.raw(part);
  return w.finish();
}

/**
 * @param {Buffer} request
 * @param {number} field
 */
function messageOf(request, field) {
  const r = new Reader(request);
  /** @type {Buffer} */
  let message = Buffer.alloc(0);
  for (let tag = r.next(); tag !== 0; tag = r.next()) {
    if (tag !== ((field << 3) | BYTES)) r.skip();
    else message = message.length ? Buffer.concat([message, r.bytes()]) : r.bytes();
  }
  return message;
}

/**
 * The parts of an encoded Message. hookmux takes QoS, topic, payload and the
 * header allow_publish from it, and all else from the message that it has.
 * @param {any} m
 */
function encodeMessage(m) {
  checkMessage(m);
  const w = new Writer().string(1, m.node ?? "").string(2, m.id ?? "").varint(3, m.qos ?? 0).string(4, m.from ?? "").string(5, m.topic);
  w.bytes(6, typeof m.payload === "string" ? Buffer.from(m.payload) : (m.payload ?? Buffer.alloc(0)));
  w.varint(7, m.timestamp ?? 0);
  for (const [key, value] of Object.entries(m.headers ?? {})) w.bytes(8, new Writer().string(1, key).string(2, value).finish(), true);
  return w.parts;
}

/**
 * Throws for a message that no broker could publish.
 * @param {any} m
 */
function checkMessage(m) {
  if (typeof m !== "object" || m === null) throw new TypeError(`rewrite: expected a message, found ${show(m)}`);
  const wrong = (/** @type {string} */ why) => new TypeError(`rewrite: ${why}`);
  for (const key of ["node", "id", "from", "topic"]) {
    if (m[key] !== undefined && typeof m[key] !== "string") throw wrong(`${key} must be a string, not ${show(m[key])}`);
    if (m[key]?.isWellFormed?.() === false) throw wrong(`${key} is not valid Unicode`);
  }
  if (!m.topic) throw wrong("the message has no topic; change the request's message instead of making a new one");
  if (/[+#\0]/.test(m.topic)) throw wrong(`topic ${JSON.stringify(m.topic)} has a wildcard or a NUL`);
  if (Buffer.byteLength(m.topic) > maxTopic) throw wrong(`the topic has ${Buffer.byteLength(m.topic)} bytes, MQTT allows ${maxTopic}`);
  if (m.qos !== undefined && ![0, 1, 2].includes(m.qos)) throw wrong(`QoS ${show(m.qos)}; MQTT has 0, 1 and 2`);
  if (m.payload !== undefined && typeof m.payload !== "string" && !(m.payload instanceof Uint8Array)) {
    throw wrong(`payload must be a string or a Uint8Array, not ${show(m.payload)}`);
  }
  if (m.timestamp !== undefined && !(Number.isSafeInteger(m.timestamp) && m.timestamp >= 0)) throw wrong("timestamp must be milliseconds");
  for (const [key, value] of Object.entries(m.headers ?? {})) {
    if (typeof value !== "string") throw wrong(`header ${JSON.stringify(key)} must be a string, not ${show(value)}`);
  }
}

/** @param {any} value */
function show(value) {
  if (value instanceof Answer) return value.toString();
  if (value === undefined || value === null) return String(value);
  return typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : `a ${typeof value}`;
}
