import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { decode, encode } from "./contract.js";

// Starts a plugin as hookmux does and speaks to it, with grpc-js's client and
// protobufjs.

/** How long a test waits for what must come, in milliseconds. */
const patience = 20_000;

const asIs = (/** @type {Buffer} */ b) => b;

export const hooks = /** @type {const} */ ({
  OnProviderLoaded: 1, OnClientDisconnected: 6, OnClientAuthenticate: 7, OnMessagePublish: 19, OnMessageAcked: 22,
});

/** @typedef {{ id: number, answer?: Uint8Array, error?: string, unavailable?: boolean }} Reply */

/**
 * @param {import("node:test").TestContext} t which ends it
 * @param {string} file
 * @param {{ config?: object, protocols?: string, env?: Record<string, string>, sockets?: boolean, started?: (child: import("node:child_process").ChildProcess) => void }} [options]
 */
export async function startPlugin(t, file, { config = {}, protocols = "1,2", env = {}, sockets = false, started = () => {} } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "hookmux-node-"));
  // Pipes, as hookmux has them; spawn's own are sockets.
  const [out, err] = sockets ? [undefined, undefined] : [fifo(path.join(folder, "out")), fifo(path.join(folder, "err"))];
  const child = spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url))], {
    env: {
      HOOKMUX_PLUGIN: "9f6cf0b2-exhook", HOOKMUX_NAME: "all-round", HOOKMUX_CONFIG: JSON.stringify(config),
      PLUGIN_PROTOCOL_VERSIONS: protocols, PLUGIN_UNIX_SOCKET_DIR: folder, ...env,
    },
    stdio: ["ignore", out?.fd ?? "pipe", err?.fd ?? "pipe"],
  });
  started(child);
  const exited = once(child, "exit").then(([code, signal]) => signal ?? code);
  t.after(async () => {
    child.kill("SIGKILL");
    await exited;
    for (const pipe of [out, err]) {
      pipe?.reader.destroy();
      if (pipe) fs.closeSync(pipe.fd);
    }
    fs.rmSync(folder, { recursive: true });
  });
  const stdout = lines(/** @type {any} */ (out?.reader ?? child.stdout));
  const stderr = lines(/** @type {any} */ (err?.reader ?? child.stderr));
  const line = await Promise.race([stdout.find(() => true), exited.then(() => "")]);
  const [, protocol, , socket] = line.split("|");
  const plugin = { child, exited, stdout, stderr, handshake: line, protocol: Number(protocol), socket };

  const client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure());
  t.after(() => client.close());
  if (!line) client.close();
  const unary = (/** @type {string} */ method, /** @type {Buffer} */ request, timeout = 20_000) => {
    /** @type {any} */
    let call;
    const answered = new Promise((resolve, reject) => {
      call = client.makeUnaryRequest(method, asIs, asIs, request, { deadline: Date.now() + timeout }, (err, answer) => (err ? reject(err) : resolve(answer)));
    });
    return Object.assign(/** @type {Promise<Buffer>} */ (answered), { cancel: () => call.cancel() });
  };
  return { ...plugin, unary, stream: (/** @type {"Decide" | "Notify"} */ name) => new Stream(client, name) };
}

/** @param {string} file */
function fifo(file) {
  execFileSync("mkfifo", [file]);
  const reader = new net.Socket({ fd: fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK), writable: false });
  return { fd: fs.openSync(file, fs.constants.O_WRONLY), reader };
}

class Stream {
  /** @type {Map<number, (r: Reply) => void>} */
  #waiting = new Map();
  #next = 1;

  /**
   * @param {grpc.Client} client
   * @param {string} name
   */
  constructor(client, name) {
    this.call = client.makeBidiStreamRequest(`/hookmux.plugin.v1.Plugin/${name}`, asIs, asIs);
    this.call.on("data", (batch) => {
      const { replies, done } = decode("Replies", batch);
      for (const r of [...replies, ...done.map((/** @type {number} */ id) => ({ id }))]) {
        const got = this.#waiting.get(r.id);
        if (!got) throw new Error(`a reply to ${r.id}, which nobody awaits`);
        this.#waiting.delete(r.id);
        got(r);
      }
    });
    this.ended = new Promise((resolve) => {
      this.call.on("status", resolve);
      this.call.on("error", () => {});
    });
  }

  /**
   * Sends events in one batch.
   * @param {{ hook: keyof typeof hooks, request: object, key?: string, timeout?: number, eventId?: string }[]} events timeout in milliseconds
   * @returns {{ id: number, reply: Promise<Reply> }[]}
   */
  send(...events) {
    const sent = events.map((e) => {
      const id = this.#next++;
      return { id, reply: new Promise((/** @type {(r: Reply) => void} */ resolve) => this.#waiting.set(id, resolve)), e };
    });
    this.call.write(encode("Events", {
      events: sent.map(({ id, e }) => ({
        id, hook: hooks[e.hook], timeoutUs: (e.timeout ?? 0) * 1000, key: Buffer.from(e.key ?? ""), eventId: e.eventId ?? "", request: encode(`${e.hook.slice(2)}Request`, e.request),
      })),
    }));
    return sent;
  }

  /** @param {number} id */
  cancel(id) {
    this.call.write(encode("Events", { canceled: [id] }));
  }
}

/**
 * The lines of a stream, as they come.
 * @param {import("node:stream").Readable} stream
 */
function lines(stream) {
  /** @type {string[]} */
  const all = [];
  /** @type {Set<() => void>} */
  const waiting = new Set();
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk) => {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    all.push(...parts);
    for (const look of waiting) look();
  });
  return {
    all,
    /**
     * The first line that is wanted, also one that has been there.
     * @param {(line: string) => boolean} wanted
     * @returns {Promise<string>}
     */
    find: (wanted) => new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(look);
        reject(new Error(`no line is ${wanted}, but:\n${all.slice(-20).join("\n")}`));
      }, patience).unref();
      const look = () => {
        const line = all.find(wanted);
        if (line === undefined) return;
        clearTimeout(timer);
        waiting.delete(look);
        resolve(line);
      };
      waiting.add(look);
      look();
    }),
  };
}
