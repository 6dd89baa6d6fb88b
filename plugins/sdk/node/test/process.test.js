import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { decode, encode } from "./contract.js";
import { startPlugin } from "./host.js";

const allround = "plugins/allround.js";
const path = fileURLToPath(new URL(allround, import.meta.url));

/** @param {string} username @param {string} [password] */
const login = (username, password = "") => ({ clientinfo: { username, password } });

/** @param {string} username @param {string} [password] @param {number} [timeout] */
const event = (username, password, timeout) => (/** @type {const} */ ({ hook: "OnClientAuthenticate", request: login(username, password), timeout }));

/** @param {string} client @param {string} reason */
const gone = (client, reason) => (/** @type {const} */ ({ hook: "OnClientDisconnected", key: client, request: { clientinfo: { clientid: client }, reason } }));

/** @param {string} msg @param {Record<string, any>} [attrs] */
const logged = (msg, attrs = {}) => (/** @type {string} */ line) => {
  if (!line.startsWith("{")) return false;
  const got = JSON.parse(line);
  return got.msg === msg && Object.entries(attrs).every(([k, v]) => got[k] === v);
};

test("what is printed does not disturb the handshake", async (t) => {
  const p = await startPlugin(t, allround, { config: { greeting: "good morning" } });
  assert.match(p.handshake, /^1\|2\|unix\|\/.*\|grpc$/);
  await p.stderr.find(logged("greeting is good morning", { level: "INFO" }));
  await p.stderr.find((l) => l === "from a child");
  await p.stderr.find((l) => l === "a line without its end");
  assert.equal(p.stdout.all.length, 1);
});

test("the highest app protocol of both is taken", async (t) => {
  assert.equal((await startPlugin(t, allround, { protocols: "1" })).protocol, 1);
  assert.equal((await startPlugin(t, allround, { protocols: "3,1,2" })).protocol, 2);
  const p = await startPlugin(t, allround, { protocols: "7" });
  assert.equal(await p.exited, 1);
  await p.stderr.find((l) => l.includes("all-round: hookmux offers the app protocols 7; this SDK knows 1, 2"));
});

test("a start that fails says why", async (t) => {
  for (const [config, why] of /** @type {[any, string][]} */ ([
    [{ start: "fails" }, "all-round: onStart: no database"],
    [{ greetin: "x" }, 'all-round: config: unknown key "greetin" (did you mean "greeting"?); allowed: greeting, start, stop'],
  ])) {
    const p = await startPlugin(t, allround, { config });
    assert.equal(await p.exited, 1);
    await p.stderr.find((l) => l === why);
    assert.equal(p.stdout.all.length, 0);
  }
});

test("app protocol 1", async (t) => {
  const p = await startPlugin(t, allround, { protocols: "1" });
  const rpc = (/** @type {string} */ method, /** @type {object} */ request, timeout = 20_000) =>
    p.unary(`/emqx.exhook.v3.HookProvider/${method}`, encode(`${method.slice(2)}Request`, request), timeout);
  const { hooks } = decode("LoadedResponse", await rpc("OnProviderLoaded", {}));
  assert.equal(hooks.length, 4);
  const answer = decode("ValuedResponse", await rpc("OnClientAuthenticate", login("alice")));
  assert.deepEqual([answer.type, answer.boolResult], ["CONTINUE", true]);
  const message = { topic: "a", payload: Buffer.from("world"), headers: { a: "b" } };
  assert.equal(`${decode("ValuedResponse", await rpc("OnMessagePublish", { message })).message.payload}`, "hello world");
  await assert.rejects(rpc("OnClientAuthenticate", login("throw", "out of\ncheese")), { code: 2, details: "onClientAuthenticate: out of cheese" });
  await assert.rejects(rpc("OnClientAuthenticate", login("nothing")), { code: 2, details: /it must return allow, deny or noOpinion, and returned undefined/ });
  await p.stderr.find(logged("onClientAuthenticate failed", { level: "ERROR" }));
  assert.equal(decode("ValuedResponse", await rpc("OnClientAuthorize", {})).type, "IGNORE", "a hook that the plugin has not");
  assert.equal((await rpc("OnClientConnect", {})).length, 0);
  await assert.rejects(p.unary("/emqx.exhook.v3.HookProvider/OnClientAuthenticate", Buffer.from([10])), /decoding the request/);

  const canceled = rpc("OnClientAuthenticate", login("wait"));
  await p.stderr.find(logged("waiting"));
  canceled.cancel();
  await assert.rejects(canceled, { code: 1 });
  await p.stderr.find(logged("aborted", { why: "AbortError" }));

  const late = rpc("OnClientAuthenticate", login("wait"), 30);
  await assert.rejects(late, { code: 4 });
  await p.stderr.find((l) => logged("aborted", { why: "TimeoutError" })(l) || p.stderr.all.filter(logged("aborted")).length === 2);
});

test("what the plugin needs is away", async (t) => {
  const unary = await startPlugin(t, allround, { protocols: "1" });
  const login1 = (/** @type {string} */ username, /** @type {string} */ password) =>
    unary.unary("/emqx.exhook.v3.HookProvider/OnClientAuthenticate", encode("ClientAuthenticateRequest", login(username, password)));
  await assert.rejects(login1("unavailable", "no database"), { code: 14, details: "onClientAuthenticate: no database: refused" });
  await assert.rejects(login1("backend", ""), { code: 2, details: "onClientAuthenticate: down" });
  await unary.stderr.find(logged("onClientAuthenticate failed"));
  assert.equal(unary.stderr.all.filter(logged("onClientAuthenticate failed")).length, 1, "an outage is not logged with stacks");

  const p = await startPlugin(t, allround);
  const decide = p.stream("Decide");
  for (const [username, password, error, unavailable] of /** @type {[string, string, string, boolean][]} */ ([
    ["unavailable", "no database", "no database: refused", true],
    ["unavailable", "it refused", "it refused", true],
    ["unavailable", "", "refused", true],
    ["backend", "", "down", false],
    ["throw", "x", "x", false],
  ])) {
    const r = await decide.send(event(username, password))[0].reply;
    assert.deepEqual([r.error, r.unavailable], [`onClientAuthenticate: ${error}`, unavailable]);
  }
  const [away, other] = p.stream("Notify").send(gone("car", "away"), gone("car", "2"));
  const r = await away.reply;
  assert.deepEqual([r.error, r.unavailable], ["onClientDisconnected: no database", true]);
  assert.equal((await other.reply).error ?? "", "");
});

test("app protocol 2: decisions do not wait for each other", async (t) => {
  const p = await startPlugin(t, allround);
  const decide = p.stream("Decide");
  const [gate, alice, mallory, failing] = decide.send(event("gate", "g"), event("alice"), event("deny"), event("throw", "out of cheese"));
  assert.equal(decode("ValuedResponse", (await alice.reply).answer ?? Buffer.alloc(0)).boolResult, true);
  assert.equal(decode("ValuedResponse", (await mallory.reply).answer ?? Buffer.alloc(0)).boolResult, false);
  assert.equal((await failing.reply).error, "onClientAuthenticate: out of cheese");
  assert.equal((await decide.send(event("throw null"))[0].reply).error, "onClientAuthenticate: [Object: null prototype] { a: 1 }");
  const [durable] = decide.send({ ...event("event id"), eventId: "e-1" });
  assert.equal((await durable.reply).error, "onClientAuthenticate: e-1");
  assert.equal((await decide.send(event("throw", ""))[0].reply).error, "onClientAuthenticate: failed without saying why");
  decide.send(event("open", "g"));
  await gate.reply;

  const [waits] = decide.send(event("wait", "", 60_000));
  const { remaining } = JSON.parse(await p.stderr.find(logged("waiting")));
  assert.ok(remaining > 1000 && remaining <= 60_000, `${remaining} ms`);
  decide.cancel(waits.id);
  assert.match((await waits.reply).error ?? "", /nobody waits/);
  const [late] = decide.send(event("wait", "", 5));
  assert.match((await late.reply).error ?? "", /TimeoutError: the time for the call is over/);
});

test("app protocol 2: notifications of a client in their order, 16 at a time, and not in the decisions' way", async (t) => {
  const p = await startPlugin(t, allround);
  const notify = p.stream("Notify");
  const decide = p.stream("Decide");
  const begun = (/** @type {string} */ reason) => logged("begin", { reason });
  const ended = (/** @type {string} */ reason) => logged("end", { reason });

  const [first, second, third, other] = notify.send(gone("car", "gate 1"), gone("car", "2"), gone("car", "gate 3"), gone("bus", "4"));
  await other.reply;
  assert.ok(!p.stderr.all.some(begun("2")), "the next of the same client waits");
  await decide.send(event("open", "gate 1"))[0].reply;
  await first.reply;
  await second.reply;
  await p.stderr.find(begun("gate 3"));
  notify.cancel(third.id);
  await third.reply;
  await p.stderr.find(ended("gate 3"));
  const order = p.stderr.all.filter((l) => l.startsWith("{")).map((l) => JSON.parse(l)).filter((l) => l.client === "car").map((l) => `${l.msg} ${l.reason}`);
  assert.deepEqual(order, ["begin gate 1", "end gate 1", "begin 2", "end 2", "begin gate 3", "end gate 3"]);

  const many = notify.send(...Array.from({ length: 20 }, (_, i) => gone(`c${i}`, `gate c${i}`)));
  await p.stderr.find(begun("gate c15"));
  notify.cancel(many[18].id); // while it waits for its turn
  await decide.send(event("alice"))[0].reply;
  assert.ok(!p.stderr.all.some(begun("gate c16")), "no more than 16 at a time");
  for (let i = 0; i < 20; i++) {
    if (i !== 18) {
      await p.stderr.find(begun(`gate c${i}`));
      await decide.send(event("open", `gate c${i}`))[0].reply;
    }
    assert.equal((await many[i].reply).error ?? "", i === 18 ? "onClientDisconnected: canceled before it began" : "");
  }
});

test("the log", async (t) => {
  const p = await startPlugin(t, allround);
  const notify = p.stream("Notify");
  await notify.send({ hook: "OnMessageAcked", request: {} })[0].reply;
  await p.stderr.find((l) => l === "raw");
  await p.stderr.find(logged("{ a: 1, b: { c: [ 1, 2 ] } } %d", { level: "DEBUG" }));
  await p.stderr.find((l) => l.startsWith('{"level":"ERROR","msg":"Error: with a stack\\n    at '));
  const line = await p.stderr.find((l) => l.includes('"attributes"'));
  assert.ok(line.length < 8192);
  const { level, msg, level_, error, big, text } = JSON.parse(line);
  assert.deepEqual([level, msg, level_, big], ["INFO", "attributes", "WARN", "1"]);
  assert.match(error, /^RangeError: e\n/);
  assert.match(text, /^y{500}… \(8500 more characters\)$/);
  const cut = await p.stderr.find((l) => l.includes("xxx"));
  assert.ok(cut.length < 8192 && JSON.parse(cut).level === "WARN");
  await p.stderr.find((l) => l.includes("prints too much"));
});

for (const [how, end] of /** @type {[string, (p: any) => void][]} */ ([
  ["Shutdown", (p) => p.unary("/plugin.GRPCController/Shutdown", Buffer.alloc(0))],
  ["SIGTERM", (p) => p.child.kill("SIGTERM")],
])) {
  test(`${how}: what is under way is answered`, async (t) => {
    const p = await startPlugin(t, allround);
    const decide = p.stream("Decide");
    const [waits] = decide.send(event("wait", "", 200));
    await p.stderr.find(logged("waiting"));
    end(p);
    assert.match((await waits.reply).error ?? "", /TimeoutError/);
    assert.equal((await decide.ended).code, 0);
    assert.equal(await p.exited, 0);
    assert.ok(p.stderr.all.some(logged("stopped", { by: "onStop" })));
  });
}

test("an onStop that hangs does not keep the plugin alive", async (t) => {
  const p = await startPlugin(t, allround, { config: { stop: "hangs" } });
  p.child.kill("SIGTERM");
  assert.equal(await p.exited, 1);
  assert.ok(p.stderr.all.includes("all-round: onStop: not done after 1500 ms"));
});

test("SIGTERM while onStart hangs", async (t) => {
  const p = await startPlugin(t, allround, { config: { start: "hangs" }, started: (child) => setTimeout(() => child.kill("SIGTERM"), 50) });
  assert.equal(await p.exited, "SIGTERM");
});

test("where stdout is no pipe only what Node prints is kept from it", async (t) => {
  const p = await startPlugin(t, allround, { sockets: true });
  assert.match(p.handshake, /^(from a child|1\|2\|unix\|.*)$/);
  await p.stderr.find(logged("greeting is hello"));
});

test("a rejection that nobody handles ends the plugin, and is logged", async (t) => {
  const p = await startPlugin(t, allround);
  p.stream("Decide").send(event("crash"));
  assert.equal(await p.exited, 1);
  await p.stderr.find((l) => l.includes('"msg":"unhandled rejection: the plugin ends"') && l.includes("nobody looks"));
});

test("health", async (t) => {
  const p = await startPlugin(t, allround);
  const check = (/** @type {string} */ service) => p.unary("/grpc.health.v1.Health/Check", Buffer.concat([Buffer.from([10, service.length]), Buffer.from(service)]));
  assert.deepEqual([...(await check("plugin"))], [8, 1]);
  await assert.rejects(check("other"), { code: 5 });
});

test("it ends when its parent is gone", async () => {
  // A shell in between, which ends as soon as it has started the plugin.
  const env = { ...process.env, HOOKMUX_PLUGIN: "9f6cf0b2-exhook", PLUGIN_PROTOCOL_VERSIONS: "2" };
  const shell = spawn("sh", ["-c", `"${process.execPath}" "${path}" & read line`], { env, stdio: ["pipe", "pipe", "pipe"] });
  const closed = once(shell, "close"); // of the pipes too, which the plugin has as well
  for await (const chunk of shell.stdout) if (`${chunk}`.includes("|grpc")) break;
  shell.stdin.end("go\n");
  shell.stderr.resume();
  await closed;
});

test("started by hand it says what it is", () => {
  const run = (/** @type {string[]} */ ...args) => spawnSync(process.execPath, [path, ...args], { encoding: "utf8" });
  const { status, stderr, stdout } = run();
  assert.equal(status, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^allround.js is a plugin of hookmux, a sidecar for the MQTT broker EMQX.\nIt answers:\n {2}client.disconnected\n {2}client.authenticate\n/);
  assert.match(stderr, /providers:\n {2}- name: allround\n {4}command: \[node, ".*\/allround.js"\]/);
  assert.equal(run("--help").status, 0);
});
