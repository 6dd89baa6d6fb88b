import assert from "node:assert/strict";
import { test } from "node:test";
import { drop, pass } from "@hookmux/sdk";
import { start } from "@hookmux/sdk/testing";
import { RateLimit } from "./plugin.js";

const config = { perSecond: 2, burst: 3, clients: { pump: { perSecond: 1, burst: 1 } } };

// A plugin whose clock the test moves.
class Clocked extends RateLimit {
  time = 0;
  now() {
    return this.time;
  }
}

test("a client that is too fast loses messages", async () => {
  const p = await start(Clocked, { config });
  const publish = (from) => p.onMessagePublish({ message: { from, topic: "a" } });

  for (let i = 0; i < 3; i++) assert.deepEqual(await publish("car"), pass);
  assert.deepEqual(await publish("car"), drop.final());
  assert.deepEqual(await publish("bus"), pass, "each client has its own rate");

  p.plugin.time = 500;
  assert.deepEqual(await publish("car"), pass, "two a second");
  assert.deepEqual(await publish("car"), drop.final());

  p.plugin.time = 60_000;
  for (let i = 0; i < 3; i++) assert.deepEqual(await publish("car"), pass);
  assert.deepEqual(await publish("car"), drop.final(), "a pause is worth a burst, and no more");
  await p.stop();
});

test("a client may have a rate of its own", async () => {
  const p = await start(Clocked, { config });
  const publish = (from) => p.onMessagePublish({ message: { from, topic: "a" } });
  assert.deepEqual(await publish("pump"), pass);
  assert.deepEqual(await publish("pump"), drop.final());
  assert.deepEqual(await publish("toString"), pass);
  await p.stop();
});

test("clients whose bucket is full again are forgotten", async () => {
  const p = await start(Clocked, { config });
  for (let i = 0; i < 100; i++) await p.onMessagePublish({ message: { from: `c${i}`, topic: "a" } });
  p.plugin.sweep();
  assert.equal(p.plugin.buckets.size, 100);
  p.plugin.time = 500;
  p.plugin.sweep();
  assert.equal(p.plugin.buckets.size, 0);
  await p.stop();
});

test("the config is checked", async () => {
  await assert.rejects(start(RateLimit, { config: { perSecond: 0 } }), /key "perSecond": must be a number not below 1, not 0/);
  await assert.rejects(start(RateLimit, { config: { perSecnd: 1 } }), /unknown key "perSecnd" \(did you mean "perSecond"\?\)/);
  await assert.rejects(start(RateLimit, { config: { topics: ["a/#/b"] } }), /# must be the last level/);
  assert.deepEqual((await start(RateLimit)).topics, { "message.publish": ["#"] });
});
