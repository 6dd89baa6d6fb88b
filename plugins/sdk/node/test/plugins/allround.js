// A plugin that does what its events say, for tests.
import { spawnSync } from "node:child_process";
import { allow, deny, log, Plugin, rewrite, serve, Unavailable } from "../../src/index.js";

/** @type {Map<string, () => void>} */
const gates = new Map();

class AllRound extends Plugin {
  static config = { greeting: "hello", start: "", stop: "" };

  async onStart() {
    process.stdout.write("a line without its end");
    console.log("greeting is", this.config.greeting);
    spawnSync("echo", ["from a child"], { stdio: "inherit" });
    if (this.config.start === "fails") throw new Error("no database");
    if (this.config.start === "hangs") await new Promise(() => setInterval(() => {}, 1000)); // or Node would see that nothing can come and end
  }

  async onStop() {
    log.info("stopped", { by: "onStop" });
    if (this.config.stop === "hangs") await new Promise(() => {});
  }

  /** The user name says what to do. @param {any} r @param {any} call */
  async onClientAuthenticate(r, call) {
    const { username, password } = r.clientinfo;
    switch (username) {
      case "throw": throw new Error(password);
      case "unavailable": throw new Unavailable(password, { cause: new Error("refused") });
      case "backend": throw Object.assign(new Error("down"), { code: 14 });
      case "event id": throw new Error(call.eventId);
      case "throw null": throw Object.assign(Object.create(null), { a: 1 });
      case "nothing": return /** @type {any} */ (undefined);
      case "wait":
        log.info("waiting", { remaining: Math.round(call.remaining) });
        await new Promise((_, reject) => call.signal.addEventListener("abort", () => {
          log.info("aborted", { why: call.signal.reason.name });
          reject(call.signal.reason);
        }));
        break;
      case "gate": {
        /** @type {Promise<void>} */
        const opened = new Promise((resolve) => gates.set(password, resolve));
        log.info("at the gate", { gate: password });
        await opened;
        break;
      }
      case "open":
        gates.get(password)?.();
        break;
      case "crash":
        setImmediate(() => Promise.reject(new Error("nobody looks")));
        await new Promise(() => {});
    }
    return username === "deny" ? deny : allow;
  }

  /** @param {any} r */
  onMessagePublish(r) {
    return rewrite({ ...r.message, payload: `${this.config.greeting} ${r.message.payload}` });
  }

  /** Waits at the gate that the reason names. @param {any} r @param {any} call */
  onClientDisconnected(r, call) {
    const line = { client: r.clientinfo.clientid, reason: r.reason };
    log.info("begin", line);
    if (r.reason === "away") throw new Unavailable("no database");
    if (!r.reason.startsWith("gate")) {
      log.info("end", line);
      return;
    }
    return new Promise((/** @type {(v?: any) => void} */ resolve) => {
      gates.set(r.reason, resolve);
      call.signal.addEventListener("abort", resolve);
    }).then(() => log.info("end", line));
  }

  onMessageAcked() {
    console.warn("x".repeat(20_000));
    console.error(new Error("with a stack"));
    console.debug({ a: 1, b: { c: [1, 2] } }, "%d");
    log.info("attributes", { level: "WARN", error: new RangeError("e"), big: 1n, text: "y".repeat(9000) });
    process.stderr.write("raw\n");
    for (let i = 0; i < 50_000; i++) console.log(i, "z".repeat(100));
  }
}

serve(AllRound);
