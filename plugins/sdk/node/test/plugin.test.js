import assert from "node:assert/strict";
import { test } from "node:test";
import { allow, checkFilter, covers, deny, noOpinion, pass, Plugin } from "../src/index.js";
import { Handler } from "../src/plugin.js";
import { start } from "../src/testing.js";
import { decode } from "./contract.js";

/** @param {any} plugin */
const loaded = (plugin, config = "{}") => decode("LoadedResponse", new Handler(plugin, config).loaded()).hooks;

test("a plugin is asked about what it has a method for, inherited ones too", () => {
  class Base extends Plugin {
    onClientConnected() {}
  }
  class Derived extends Base {
    onStart() {}
    onProviderLoaded() {}
    onMessagePublish() { return pass; }
    onClientAuthenticate = () => allow;
    static topics = { "message.publish": ["a/#", "b"] };
    static pure = ["message.publish"];
  }
  assert.deepEqual(loaded(Derived), [
    { name: "client.connected", topics: [], pure: false },
    { name: "client.authenticate", topics: [], pure: false },
    { name: "message.publish", topics: ["a/#", "b"], pure: true },
  ]);
  assert.deepEqual(loaded(new Derived()).length, 3);
  assert.deepEqual(loaded({ onMessageAcked() {}, topics: { "message.acked": ["x"] } }), [{ name: "message.acked", topics: ["x"], pure: false }]);
});

test("the config of a class, an instance and an object", async () => {
  class Greeter extends Plugin {
    static config = { word: "hello", topics: ["#"] };
    topics() { return { "message.acked": this.config.topics }; }
    onMessageAcked() {}
  }
  const config = { topics: ["a"] };
  for (const given of [Greeter, new Greeter()]) {
    const p = await start(given, { config });
    assert.deepEqual([p.plugin.config, p.topics], [{ word: "hello", topics: ["a"] }, { "message.acked": ["a"] }]);
  }
  const object = /** @type {any} */ ({
    config: { word: "hello" },
    onStart() { this.word = this.config.word; },
    onMessageAcked() {},
  });
  const p = await start(object, { config: { word: "bye" } });
  assert.equal(p.plugin.word, "bye");
  assert.deepEqual(object.config, { word: "hello" }, "the object itself stays as it was");
});

test("what its author will want to know", () => {
  const hook = { onMessageAcked() {} };
  for (const [plugin, why] of /** @type {[any, RegExp][]} */ ([
    [{}, /the plugin has no hook/],
    [class {}, /the plugin has no hook/],
    [undefined, /a plugin is a class or an object/],
    [{ ...hook, onClientConect() {} }, /onClientConect is no hook; did you mean onClientConnect\?/],
    [{ ...hook, OnClientConnect() {} }, /OnClientConnect is no hook; did you mean onClientConnect\?/],
    [{ ...hook, onPublish() {} }, /did you mean onMessagePublish\?/],
    [{ ...hook, onMessagePublish: true }, /onMessagePublish must be a method, not a boolean/],
    [{ ...hook, topics: { "message.acked": [] } }, /an empty list for message.acked would mean every topic/],
    [{ ...hook, topics: { "message.ackd": ["a"] } }, /message.ackd cannot be limited to topics \(did you mean "message.acked"\?\)/],
    [{ ...hook, topics: { "message.publish": ["a"] } }, /filters for message.publish, but the plugin has no method/],
    [{ ...hook, topics: { "message.acked": ["a/#/b"] } }, /message.acked: topic filter "a\/#\/b": # must be the last level/],
    [{ ...hook, topics: { "message.acked": "a" } }, /needs a list/],
    [{ ...hook, pure: ["client.authorise"] }, /pure: client.authorise is no hook with an answer \(did you mean "client.authorize"\?\)/],
    [{ ...hook, pure: ["message.publish"] }, /pure: the plugin has no method for message.publish/],
    [{ ...hook, pure: true }, /pure must be a list/],
    [{ ...hook, topics: ["a"] }, /topics must be an object/],
  ])) {
    assert.throws(() => new Handler(plugin, "{}"), why);
  }
});

test("the harness calls methods as hookmux does", async () => {
  const p = await start(class extends Plugin {
    /** @type {any} */ seen;
    /** @param {any} r @param {import("../src/index.js").Call} call */
    async onClientAuthenticate(r, call) {
      this.seen = r;
      if (!call.signal.aborted) await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
      return call.signal.reason.name === "TimeoutError" ? deny : allow;
    }
    /** @param {any} r */
    onClientSubscribe(r) { this.seen = r; }
    onMessagePublish = () => /** @type {any} */ (undefined);
  });
  assert.deepEqual(await p.onClientAuthenticate({ clientinfo: { username: "a" } }, { timeout: 1 }), deny);
  assert.equal(p.plugin.seen.clientinfo.username, "a");
  assert.equal(p.plugin.seen.meta.node, "", "what the test does not say is there");
  assert.deepEqual(await p.onClientAuthenticate({}, { signal: AbortSignal.abort() }), allow);
  await p.onClientSubscribe({ topicFilters: [{ name: "a" }] });
  assert.equal(p.plugin.seen.topicFilters[0].subopts.qos, 0);
  await assert.rejects(p.onMessagePublish(), /it must return pass, drop or rewrite/);
  await assert.rejects(p.onMessagePublish(/** @type {any} */ ({ mesage: {} })), /there is no such field \(did you mean "message"\?\)/);
  await assert.rejects(p.onMessagePublish(/** @type {any} */ ({ message: { qos: "1" } })), /qos is a number, not a string/);
  await assert.rejects(p.onMessageAcked(), /the plugin has no method onMessageAcked/);
  assert.notDeepEqual(noOpinion, pass);
});

test("topic filters", () => {
  for (const [filter, asked, want] of /** @type {const} */ ([
    ["a/+", "a/b", true], ["a/+", "a/+", true], ["a/+", "a/#", false], ["a/+", "a/b/c", false], ["a/#", "a", true],
    ["a/#", "a/b/c", true], ["#", "a", true], ["#", "$SYS/a", false], ["+/a", "$SYS/a", false], ["$SYS/#", "$SYS/a", true],
    ["a", "a/b", false], ["a/b", "a", false], ["a/b/#", "a", false], ["+", "", true], ["+/+", "/a", true],
  ])) {
    assert.equal(covers(filter, asked), want, `${filter} ${asked}`);
  }
  for (const bad of ["", "a#", "a/#/b", "a+/b", "a\0", "$share/g/a", "x".repeat(65536)]) assert.throws(() => checkFilter(bad));
  for (const good of ["#", "+", "a/+/b/#", "/", "$SYS/#"]) checkFilter(good);
});
