import { inspect } from "node:util";

// gRPC's status codes.
export const CANCELLED = 1;
export const UNKNOWN = 2;
export const INVALID_ARGUMENT = 3;
export const DEADLINE_EXCEEDED = 4;
export const NOT_FOUND = 5;
export const UNAVAILABLE = 14;

/** A timer's longest delay, in milliseconds. */
const longest = 2 ** 31 - 1;

/**
 * What a hook's method is given beside the request: how long it has, and whether
 * anybody still waits. Most methods never look, so the signal and its timer are
 * made when they are asked for.
 */
export class Call {
  /** @type {AbortController | undefined} */
  #controller;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  /** @type {Error | undefined} */
  #ended;

  /**
   * @param {string} hook
   * @param {number} deadline when its time is over, on the clock of performance.now; Infinity: never
   * @param {string} eventId of a durable notification
   */
  constructor(hook, deadline, eventId) {
    this.hook = hook;
    this.eventId = eventId;
    this.until = deadline;
  }

  /** Milliseconds that are left; Infinity if there is no limit. */
  get remaining() {
    return Math.max(0, this.until - performance.now());
  }

  /** Is aborted when the time is over or nobody waits any more. */
  get signal() {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#ended) this.#controller.abort(this.#ended);
      else if (this.remaining === 0) this.#timeout();
      else if (this.until < Infinity) this.#timer = setTimeout(() => this.#timeout(), Math.min(this.remaining, longest));
    }
    return this.#controller.signal;
  }

  #timeout() {
    this.#abort("the time for the call is over", "TimeoutError");
  }

  /** Nobody waits any more. */
  cancel() {
    this.#abort("nobody waits for the answer any more", "AbortError");
  }

  /**
   * @param {string} text
   * @param {string} name
   */
  #abort(text, name) {
    if (this.#ended) return;
    this.#ended = new DOMException(text, name);
    this.end();
    this.#controller?.abort(this.#ended);
  }

  /** The method has returned. */
  end() {
    clearTimeout(this.#timer);
  }
}

/** What index.d.ts says of it. */
export class Unavailable extends Error {
  static {
    this.prototype.name = "Unavailable"; // also in its stack
  }
}

/**
 * What a method threw, as a text for hookmux. It is never empty: an empty one would
 * be an answer on the wire.
 * @param {string} method
 * @param {any} err
 */
export function errorText(method, err) {
  return `${method}: ${short(textOf(err)) || "failed without saying why"}`;
}

/**
 * @param {any} err
 * @returns {string}
 */
function textOf(err) {
  if (!(err instanceof Error)) return typeof err === "string" ? err : inspect(err);
  if (!(err instanceof Unavailable)) return err.name === "Error" ? `${err.message}` : `${err.name}: ${err.message}`;
  // With the cause, which stands in no stack that is logged.
  const why = err.cause instanceof Error ? err.cause.message : textOf(err.cause ?? "");
  return err.message.includes(why) ? err.message : [err.message, why].filter(Boolean).join(": ");
}

/**
 * One line of at most 300 characters.
 * @param {string} text
 */
function short(text) {
  const line = text.toWellFormed().split(/\s+/).join(" ").trim();
  return line.length > 300 ? `${line.slice(0, 300).toWellFormed()}…` : line;
}

/**
 * The status of a call that ended in err. A backend's own status is not passed on: what
 * its UNAVAILABLE means for the event is for the plugin to say.
 * @param {any} err
 */
export function statusOf(err) {
  if (err instanceof Unavailable) return UNAVAILABLE;
  if (err?.name === "TimeoutError") return DEADLINE_EXCEEDED;
  return err?.name === "AbortError" ? CANCELLED : UNKNOWN;
}
