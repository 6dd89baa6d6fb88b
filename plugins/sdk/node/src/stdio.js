import fs from "node:fs";
import { Writable } from "node:stream";

// Under hookmux, stdout is the channel of the handshake: a line printed before it
// ruins it. So what a plugin prints goes to stderr, which hookmux logs.
//
// hookmux reads a flood of output slowly. What is printed is therefore written
// without waiting, from a buffer that is bounded: a plugin that prints too much
// loses lines, and not the time of its decisions.

const maxBuffered = 1 << 20; // bytes
const retryAfter = 10; // milliseconds
const lastWordsWithin = 300; // milliseconds

/** Writes to stderr without ever waiting for its reader. */
class Output {
  /** @type {string[]} */
  #lines = [];
  #bytes = 0;
  #lost = 0;
  /** @type {Buffer | undefined} */
  #unwritten;
  #partial = false; // the last line has yet to end
  #scheduled = false;
  #fd = 2;

  open() {
    try {
      this.#fd = reopen(2, fs.constants.O_NONBLOCK);
    } catch {
      // Not Linux, or a socket: writing waits.
    }
    process.on("exit", () => this.flush(lastWordsWithin));
  }

  /**
   * Writes a line that must not be the end of another.
   * @param {string} text with its newline
   */
  line(text) {
    this.write(this.#partial ? `\n${text}` : text);
  }

  /** @param {string} text */
  write(text) {
    if (text === "") return;
    if (this.#bytes > maxBuffered) {
      this.#lost++;
      return;
    }
    this.#partial = !text.endsWith("\n");
    this.#lines.push(text);
    this.#bytes += text.length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.flush());
    }
  }

  /**
   * Writes what can be written now.
   * @param {number} wait how many milliseconds it may take
   */
  flush(wait = 0) {
    this.#scheduled = false;
    const until = performance.now() + wait;
    for (;;) {
      if (!this.#unwritten) {
        if (this.#lines.length === 0 && this.#lost === 0) return;
        if (this.#lost) this.#lines.push(`${JSON.stringify({ level: "WARN", msg: "the plugin prints too much: what was left out", writes: this.#lost })}\n`);
        this.#unwritten = Buffer.from(this.#lines.join(""));
        this.#lines = [];
        this.#lost = 0;
      }
      try {
        const n = fs.writeSync(this.#fd, this.#unwritten);
        this.#unwritten = n < this.#unwritten.length ? this.#unwritten.subarray(n) : undefined;
        if (!this.#unwritten) this.#bytes = 0;
      } catch (err) {
        if (/** @type {NodeJS.ErrnoException} */ (err).code !== "EAGAIN") {
          this.#unwritten = undefined; // nobody reads any more
          this.#bytes = 0;
          return;
        }
        if (performance.now() < until) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryAfter);
          continue;
        }
        if (wait === 0) {
          this.#scheduled = true;
          setTimeout(() => this.flush(), retryAfter).unref();
        }
        return;
      }
    }
  }
}

export const output = new Output();

/** The file descriptor of the stdout that hookmux reads. */
let handshake = -1;

/**
 * Sets stdout aside for the handshake and sends to stderr whatever is printed: by
 * console.log and process.stdout, by native code and by child processes.
 */
export function leaveStdout() {
  if (handshake >= 0) return;
  output.open();
  handshake = setAside();
  for (const name of ["stdout", "stderr"]) {
    const stream = new Writable({
      decodeStrings: false,
      write(chunk, _, written) {
        output.write(String(chunk));
        written();
      },
    });
    Object.defineProperty(stream, "fd", { value: name === "stdout" ? 1 : 2 });
    Object.defineProperty(process, name, { value: stream, configurable: true, enumerable: true, writable: true });
  }
}

/**
 * Makes file descriptor 1 the same as 2, and gives another one for what it was. It
 * stays as it is where there is no /proc, or no pipe.
 */
function setAside() {
  let was;
  try {
    fs.closeSync(reopen(2)); // so that nothing is lost if it cannot be done
    was = reopen(1);
  } catch {
    return 1;
  }
  // There is no dup2 in Node: what is opened next gets the lowest number that is free.
  fs.closeSync(1);
  const fd = reopen(2);
  if (fd !== 1) throw new Error(`stdout could not be set aside for the handshake: at the same time something else has opened a file (${fd})`);
  return was;
}

/**
 * Another opening of the same pipe or file: its flags are its own, and not those of
 * the processes that share it.
 * @param {number} fd
 */
function reopen(fd, flags = 0) {
  return fs.openSync(`/proc/self/fd/${fd}`, fs.constants.O_WRONLY | fs.constants.O_APPEND | flags);
}

/** @param {string} line */
export function printHandshake(line) {
  fs.writeSync(handshake, `${line}\n`);
}
