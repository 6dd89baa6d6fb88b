import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { noOpinion, pass } from "@hookmux/sdk";
import { start } from "@hookmux/sdk/testing";
import { EveryHook } from "./plugin.js";

test("every hook prints its event and decides nothing", async () => {
  const print = mock.method(console, "log", () => {});
  const printed = () => print.mock.calls.at(-1)?.arguments ?? [];
  const p = await start(EveryHook);
  assert.equal(p.hooks.length, 20);

  assert.deepEqual(await p.onClientAuthenticate({ clientinfo: { clientid: "car", username: "alice" } }), noOpinion);
  assert.deepEqual(printed(), ["client.authenticate", "car", "alice"]);
  assert.deepEqual(await p.onMessagePublish({ message: { from: "car", topic: "a/b", payload: "hello" } }), pass);
  assert.deepEqual(printed(), ["message.publish", "car", "a/b", "hello"]);

  for (const hook of p.hooks) {
    const method = `on${hook.replace(/(^|\.)./g, (c) => c.slice(-1).toUpperCase())}`;
    await p[method]();
    assert.equal(printed()[0], hook);
  }
});
