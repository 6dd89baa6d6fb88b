import { BYTES, Malformed, Reader, varint } from "./protobuf.js";

// The batches of hookmux.plugin.v1, read and written without objects in between.

/**
 * @typedef {object} Event
 * @property {number | bigint} id
 * @property {number} hook
 * @property {number} timeout in microseconds; 0: no limit
 * @property {Buffer} key
 * @property {Buffer} request
 * @property {string} eventId of a durable notification, or ""
 */

/** @type {Buffer} */
const none = Buffer.alloc(0);

/**
 * Goes through a batch of Events: what it hands out are views into the batch.
 */
export class EventsReader {
  #r;
  /** @type {number} end of the ids that are being read */
  #ids = 0;

  /** @param {Buffer} batch */
  constructor(batch) {
    this.#r = new Reader(batch);
  }

  /**
   * The next event, or the id of one that nobody waits for any more, or undefined
   * at the end.
   * @returns {Event | { canceled: number | bigint } | undefined}
   */
  next() {
    const r = this.#r;
    if (this.#ids) {
      if (r.pos < this.#ids) return { canceled: r.uint64() };
      if (r.pos > this.#ids) throw new Malformed("a list of ids ends in the middle of one");
      this.#ids = 0;
    }
    for (let tag = r.next(); tag !== 0; tag = r.next()) {
      if (tag === ((1 << 3) | BYTES)) return r.message(readEvent);
      if (tag === 2 << 3) return { canceled: r.uint64() };
      if (tag === ((2 << 3) | BYTES)) {
        const start = r.delimited();
        this.#ids = r.pos;
        r.pos = start;
        return this.next();
      }
      r.skip();
    }
    return undefined;
  }
}

/**
 * @param {Reader} r
 * @returns {Event}
 */
function readEvent(r) {
  const e = { id: /** @type {number | bigint} */ (0), hook: 0, timeout: 0, key: none, request: none, eventId: "" };
  for (let tag = r.next(); tag !== 0; tag = r.next()) {
    switch (tag) {
      case 8:
        e.id = r.uint64();
        break;
      case 16:
        e.hook = r.uint32();
        break;
      case 24:
        e.timeout = r.unsigned();
        break;
      case 34:
        e.key = r.bytes();
        break;
      case 42:
        e.request = r.bytes();
        break;
      case 50:
        e.eventId = r.bytes().toString();
        break;
      default:
        r.skip();
    }
  }
  return e;
}

/** Collects a batch of Replies. */
export class RepliesWriter {
  /** @type {number[]} the ids of done, encoded */
  #done = [];
  /** @type {Buffer[]} */
  #replies = [];
  #length = 0;
  events = 0;
  /** of the requests, as they were counted in */
  bytes = 0;

  /**
   * @param {Event} e
   * @param {Buffer} answer
   */
  answer(e, answer) {
    if (answer.length === 0) varint(this.#done, e.id);
    else this.#reply(e.id, (2 << 3) | BYTES, answer);
    this.events++;
    this.bytes += e.request.length;
  }

  /**
   * @param {Event} e
   * @param {string} text
   * @param {boolean} [unavailable] what the plugin needs for the event is away
   */
  error(e, text, unavailable) {
    this.#reply(e.id, (3 << 3) | BYTES, Buffer.from(text), unavailable);
    this.events++;
    this.bytes += e.request.length;
  }

  /**
   * @param {number | bigint} id
   * @param {number} tag
   * @param {Buffer} value
   * @param {boolean} [unavailable]
   */
  #reply(id, tag, value, unavailable) {
    const inner = varint([8], id);
    if (unavailable) inner.push(4 << 3, 1);
    inner.push(tag);
    varint(inner, value.length);
    const head = varint([(1 << 3) | BYTES], inner.length + value.length);
    for (const b of inner) head.push(b);
    this.#replies.push(Buffer.from(head), value);
    this.#length += head.length + value.length;
  }

  finish() {
    if (this.#done.length === 0) return Buffer.concat(this.#replies, this.#length);
    const head = Buffer.from(varint([(2 << 3) | BYTES], this.#done.length));
    const done = Buffer.from(this.#done);
    return Buffer.concat([...this.#replies, head, done], this.#length + head.length + done.length);
  }
}
