import { EventsReader, RepliesWriter } from "./batch.js";
import { Call, errorText, INVALID_ARGUMENT, Unavailable } from "./call.js";
import { rows } from "./hooks.js";
import { failed } from "./log.js";
import { Malformed } from "./protobuf.js";

// App protocol 2: hookmux.plugin.v1, a stream for decisions and one for
// notifications. Everything happens on Node's one thread, so "at the same time" is
// said of methods that have returned a promise.

/** How much of a stream may be under way; reading pauses at either limit. */
const maxDecisions = 1024;
const maxNotifications = 4096;
const maxBytes = 32 << 20;

/** How many notifications are handled at the same time. */
const maxRunning = 16;

/** For how long events are handled in one go, in milliseconds, before the other stream has its turn. */
const slice = 2;

/**
 * The service of app protocol 2, for a gRPC server whose messages are bytes.
 * @param {import("./plugin.js").Handler} handler
 * @param {import("./calls.js").Calls} calls
 */
export function streams(handler, calls) {
  /** @type {Set<Stream>} */
  const open = new Set();
  const serve = (/** @type {any} */ stream, /** @type {typeof Stream} */ Kind) => {
    const s = new Kind(stream, handler, calls);
    open.add(s);
    s.begin(() => open.delete(s));
  };
  return {
    name: "hookmux.plugin.v1.Plugin",
    methods: {
      Decide: { streams: true, handle: (/** @type {any} */ stream) => serve(stream, Decisions) },
      Notify: { streams: true, handle: (/** @type {any} */ stream) => serve(stream, Notifications) },
    },
    /** Ends the streams; what is under way is not waited for. */
    end() {
      for (const s of open) s.end();
    },
  };
}

/**
 * An event that is under way.
 * @typedef {import("./batch.js").Event & { call?: Call, canceled?: boolean }} Open
 */

class Stream {
  max = maxDecisions;
  events = 0;
  bytes = 0;
  replies = new RepliesWriter();
  /** @type {EventsReader | null} the batch that is being read */
  batch = null;
  readAt = 0;
  /** @type {Map<number | bigint, Open>} those that did not end at once */
  open = new Map();
  ended = false; // by either side
  halfClosed = false; // hookmux sends no more
  blocked = false; // hookmux does not read
  flushing = false; // a flush is about to come
  reading = false; // reading is about to go on

  /**
   * @param {any} stream of gRPC
   * @param {import("./plugin.js").Handler} handler
   * @param {import("./calls.js").Calls} calls
   */
  constructor(stream, handler, calls) {
    this.stream = stream;
    this.handler = handler;
    this.calls = calls;
  }

  /** @param {() => void} gone is called when the stream has ended */
  begin(gone) {
    const { stream } = this;
    stream.on("data", (/** @type {Buffer} */ batch) => {
      stream.pause();
      this.batch = new EventsReader(batch);
      this.readAt = performance.now();
      this.read();
    });
    stream.on("drain", () => {
      this.blocked = false;
      this.flush();
    });
    stream.on("end", () => {
      this.halfClosed = true;
      this.flush();
    });
    const broken = () => {
      gone();
      this.ended = true;
      this.calls.leave(this.events); // nobody is left to reply to
      this.events = 0;
      for (const e of this.open.values()) e.call?.cancel();
      this.open.clear();
    };
    stream.once("cancelled", broken);
    stream.once("close", broken);
    stream.on("error", () => {}); // a stream that breaks is closed
  }

  /** Reads on until the batch is at its end, or enough is under way. */
  read() {
    this.reading = false;
    const until = performance.now() + slice;
    try {
      while (this.batch && !this.ended && !this.calls.closed && this.events < this.max && this.bytes < maxBytes) {
        const e = this.batch.next();
        if (!e) {
          this.batch = null;
          this.stream.resume();
          break;
        }
        if ("canceled" in e) {
          this.cancel(e.canceled);
          continue;
        }
        this.calls.enter();
        this.events++;
        this.bytes += e.request.length;
        this.take(e);
        if (performance.now() > until) {
          this.readSoon();
          break;
        }
      }
    } catch (err) {
      if (!(err instanceof Malformed)) throw err;
      this.batch = null;
      this.ended = true;
      this.stream.emit("error", { code: INVALID_ARGUMENT, details: `the batch is malformed: ${err.message}` });
      return;
    }
    this.flush();
  }

  readSoon() {
    if (this.reading) return;
    this.reading = true;
    setImmediate(() => this.read());
  }

  /** @param {Open} e */
  take(e) {
    this.run(e, this.readAt);
  }

  /**
   * Calls the plugin's method, and gives a promise if it gave one.
   * @param {Open} e
   * @param {number} since when its time began
   * @returns {Promise<void> | undefined}
   */
  run(e, since) {
    const method = this.handler.methods[e.hook];
    const row = rows[e.hook];
    if (!method || !row) {
      this.replies.error(e, `hook ${e.hook} is not known to this plugin`);
      return undefined;
    }
    if (this.open.size) this.open.delete(e.id); // it may have waited there
    if (e.canceled) { // while it waited for its turn
      this.replies.error(e, `${row.method}: canceled before it began`);
      return undefined;
    }
    const call = new Call(row.hook, e.timeout ? since + e.timeout / 1000 : Infinity, e.eventId);
    let answer;
    try {
      answer = method(e.request, call);
    } catch (err) {
      this.fail(e, row.method, err);
      call.end();
      return undefined;
    }
    if (Buffer.isBuffer(answer)) {
      this.replies.answer(e, answer);
      call.end();
      return undefined;
    }
    e.call = call;
    this.open.set(e.id, e);
    return answer.then(
      (a) => this.replies.answer(e, a),
      (err) => this.fail(e, row.method, err),
    ).then(() => {
      call.end();
      this.open.delete(e.id);
      this.flushSoon();
    });
  }

  /**
   * @param {Open} e
   * @param {string} method
   * @param {any} err
   */
  fail(e, method, err) {
    failed(method, err);
    this.replies.error(e, errorText(method, err), err instanceof Unavailable);
  }

  /** @param {number | bigint} id */
  cancel(id) {
    const e = this.open.get(id);
    if (!e) return;
    e.canceled = true;
    e.call?.cancel();
  }

  /** Replies that come at the same time make one batch. */
  flushSoon() {
    if (this.flushing) return;
    this.flushing = true;
    setImmediate(() => this.flush());
  }

  flush() {
    this.flushing = false;
    this.send();
    if (this.halfClosed && !this.batch && this.events === 0) this.end();
  }

  send() {
    const { replies } = this;
    if (this.ended || this.blocked || replies.events === 0) return;
    this.replies = new RepliesWriter();
    this.blocked = !this.stream.write(replies.finish());
    this.events -= replies.events;
    this.bytes -= replies.bytes;
    this.calls.leave(replies.events);
    if (this.batch) this.readSoon();
  }

  end() {
    if (this.ended) return;
    this.blocked = false;
    this.send();
    this.ended = true;
    this.stream.end();
  }
}

/** The stream Decide: each event begins at once. */
class Decisions extends Stream {}

/**
 * The stream Notify: events with the same key are handled one after another, and
 * not too many at the same time.
 */
class Notifications extends Stream {
  max = maxNotifications;
  running = 0;
  /** @type {Map<string, Open[]>} what waits for the event of the same key that runs or is ready */
  keys = new Map();
  /** @type {{ key: string, e: Open }[]} what waits only for others to end */
  ready = [];

  /**
   * @override
   * @param {Open} e
   */
  take(e) {
    if (this.running === 0) { // as always, if the methods give no promises: nothing waits
      const running = this.run(e, performance.now());
      if (running) this.started(keyOf(e), running);
      return;
    }
    const key = keyOf(e);
    const waiting = this.keys.get(key);
    if (waiting) {
      this.open.set(e.id, e);
      waiting.push(e);
    } else if (this.running >= maxRunning) {
      this.open.set(e.id, e);
      if (key) this.keys.set(key, []);
      this.ready.push({ key, e });
    } else {
      const running = this.run(e, performance.now());
      if (running) this.started(key, running);
    }
  }

  /**
   * @param {string} key "" has no order
   * @param {Promise<void>} running
   */
  started(key, running) {
    this.running++;
    if (key && !this.keys.has(key)) this.keys.set(key, []);
    running.then(() => {
      this.running--;
      this.done(key);
      this.work();
    });
  }

  /** @param {string} key */
  done(key) {
    const e = this.keys.get(key)?.shift();
    if (e) this.ready.push({ key, e });
    else this.keys.delete(key);
  }

  work() {
    while (this.running < maxRunning && !this.ended) {
      const next = this.ready.shift();
      if (!next) return;
      const running = this.run(next.e, performance.now());
      if (running) {
        this.started(next.key, running);
      } else {
        this.done(next.key);
        this.flushSoon();
      }
    }
  }
}

/** @param {Open} e */
function keyOf(e) {
  return e.key.toString("latin1");
}
