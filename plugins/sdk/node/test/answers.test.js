import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeAccess, encodeMessageAnswer } from "../src/answers.js";
import { allow, deny, drop, noOpinion, pass, rewrite } from "../src/index.js";
import { decode, encode } from "./contract.js";

test("access answers", () => {
  for (const [answer, so_far, type, result] of /** @type {const} */ ([
    [allow, false, "CONTINUE", true],
    [allow.final(), false, "STOP_AND_RETURN", true],
    [deny, true, "CONTINUE", false],
    [deny.final(), true, "STOP_AND_RETURN", false],
    [noOpinion, true, "IGNORE", undefined],
    [noOpinion.final(), true, "STOP_AND_RETURN", true],
    [noOpinion.final(), false, "STOP_AND_RETURN", false],
  ])) {
    const wire = decode("ValuedResponse", encodeAccess(answer, so_far));
    assert.deepEqual([wire.type, wire.boolResult], [type, result], String(answer));
  }
});

const message = {
  node: "n", id: "1", qos: 1, from: "car", topic: "a/b", payload: Buffer.from("x"), timestamp: 1_700_000_000_000,
  headers: { username: "alice", allow_publish: "true" },
};
const request = encode("MessagePublishRequest", { message });

/** @param {any} answer */
const sent = (answer) => decode("ValuedResponse", encodeMessageAnswer(answer, request, 1));

test("message answers", () => {
  assert.equal(sent(pass).type, "IGNORE");
  assert.deepEqual(sent(pass.final()), { type: "STOP_AND_RETURN", message });
  const refused = { ...message, headers: { username: "alice", allow_publish: "false" } };
  assert.deepEqual(sent(drop), { type: "CONTINUE", message: refused });
  assert.deepEqual(sent(drop.final()), { type: "STOP_AND_RETURN", message: refused });
  assert.deepEqual(sent(rewrite({ ...message, payload: "grüße" })), { type: "CONTINUE", message: { ...message, payload: Buffer.from("grüße") } });
  assert.equal(sent(rewrite({ ...message, payload: new Uint8Array([1, 2]) }).final()).message.payload.length, 2);
  assert.equal(String(rewrite(message).final()), "rewrite (final)");
});

test("a message without its own request is refused, too", () => {
  const wire = decode("ValuedResponse", encodeMessageAnswer(drop, Buffer.alloc(0), 1));
  assert.deepEqual(wire.message.headers, { allow_publish: "false" });
});

test("a dropped message keeps the fields that the SDK does not know", () => {
  const unknown = Buffer.concat([Buffer.from([10, 4]), Buffer.from([0xf8, 7, 1, 0]).subarray(0, 4)]);
  const answer = encodeMessageAnswer(drop, Buffer.concat([Buffer.from([10, 3, 0xf8, 7, 1]), unknown.subarray(0, 0)]), 1);
  assert.ok(answer.includes(Buffer.from([0xf8, 7, 1])));
});

test("what is no answer is an error", () => {
  for (const wrong of [undefined, null, true, "allow", {}, pass, { verb: "allow" }]) {
    assert.throws(() => encodeAccess(wrong, false), /it must return allow, deny or noOpinion, and returned/);
  }
  assert.throws(() => encodeAccess(undefined, false), /returned undefined/);
  for (const wrong of [undefined, allow, "pass"]) assert.throws(() => sent(wrong), /it must return pass, drop or rewrite\(message\)/);
  for (const [change, why] of /** @type {[any, RegExp][]} */ ([
    [{ topic: "" }, /no topic/],
    [{ topic: "a/#" }, /wildcard/],
    [{ topic: "x".repeat(65536) }, /65536 bytes/],
    [{ topic: 1 }, /topic must be a string/],
    [{ topic: "\uD800" }, /valid Unicode/],
    [{ qos: 3 }, /QoS/],
    [{ payload: { a: 1 } }, /payload must be a string or a Uint8Array/],
    [{ headers: { a: 1 } }, /header "a"/],
    [{ timestamp: -1 }, /timestamp/],
  ])) {
    assert.throws(() => sent(rewrite({ ...message, ...change })), why);
  }
  assert.throws(() => sent(rewrite(/** @type {any} */ (undefined))), /rewrite: expected a message/);
});
