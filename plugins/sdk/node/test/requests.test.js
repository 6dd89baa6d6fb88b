import assert from "node:assert/strict";
import { test } from "node:test";
import { methods } from "../src/hooks.js";
import { Malformed, Reader } from "../src/protobuf.js";
import { encode, type } from "./contract.js";

/**
 * A value for every field, all of them different.
 * @param {import("protobufjs").Type} t
 * @param {{ n: number }} count
 * @returns {any}
 */
function everything(t, count = { n: 0 }) {
  return Object.fromEntries(t.fieldsArray.map((f) => {
    count.n++;
    f.resolve();
    const one = () => {
      const { resolvedType } = f;
      if (resolvedType && "fields" in resolvedType) return everything(/** @type {any} */ (resolvedType), count);
      if (resolvedType) return 1;
      if (f.type === "bytes") return Buffer.from(`bytes ${count.n}`);
      if (f.type === "string") return `text ${count.n} grüße, länger als die anderen`;
      return f.type === "bool" ? true : f.type.includes("64") ? 2 ** 41 + count.n : 300 + count.n;
    };
    return [f.name, f.map ? { [`key ${count.n}`]: "value", __proto: "x" } : f.repeated ? [one(), one()] : one()];
  }));
}

for (const row of methods) {
  const name = `${row.rpc.slice(2)}Request`;

  test(`${name}: every field is read`, () => {
    const request = everything(type(name));
    const read = row.read(new Reader(encode(name, request)));
    if ("type" in request) request.type = "subscribe";
    assert.deepEqual(read, request);
  });

  test(`${name}: what is not set has its zero value`, () => {
    const read = row.read(new Reader(Buffer.alloc(0)));
    assert.deepEqual(read, row.empty());
    const defaults = type(name).toObject(type(name).create(), { defaults: true });
    assert.deepEqual(Object.keys(read).sort(), Object.keys(defaults).sort());
  });
}

const publish = methods.find((r) => r.hook === "message.publish");
const authorize = methods.find((r) => r.hook === "client.authorize");
const loaded = methods.find((r) => r.rpc === "OnProviderLoaded");

/** @param {...number} bytes */
const read = (...bytes) => publish?.read(new Reader(Buffer.from(bytes)));

test("fields that nobody knows are skipped", () => {
  const unknown = [0xf8, 7, 1, 0xf9, 7, ...Array(8).fill(1), 0xfa, 7, 2, 65, 66, 0xfd, 7, 1, 1, 1, 1, 0xfb, 7, 8, 1, 0x13, 0x14, 0xfc, 7];
  assert.equal(read(...unknown, 10, 3, 42, 1, 97).message.topic, "a");
  assert.equal(read(10, 5, 0xf8, 7, 1, 42, 0).message.topic, "");
  assert.equal(read(8, 1).message.topic, "", "a known number of another type is an unknown field");
});

test("of a field given twice the last counts", () => {
  assert.equal(read(10, 3, 42, 1, 97, 10, 3, 42, 1, 98).message.topic, "b");
});

test("large numbers", () => {
  const uptime = (/** @type {number[]} */ ...b) => loaded?.read(new Reader(Buffer.from([10, b.length + 1, 24, ...b]))).broker.uptime;
  assert.equal(uptime(...Array(9).fill(255), 1), -1);
  assert.equal(uptime(0xff, 0xff, 0xff, 0xff, 0x0f), 2 ** 32 - 1);
  assert.equal(uptime(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f), Number.MAX_SAFE_INTEGER);
});

test("bytes that are no request are refused", () => {
  for (const [what, bytes] of /** @type {[string, number[]][]} */ ([
    ["ends in a tag", [0x80]],
    ["ends in a value", [10, 5, 1]],
    ["ends in a fixed64", [9, 1]],
    ["a number of eleven bytes", [0xf8, 7, ...Array(10).fill(0x80), 1]],
    ["field 0", [2, 0]],
    ["a group that does not end", [0xfb, 7, 8, 1]],
    ["a group that ends as another", [0xfb, 7, 0xf4, 7]],
    ["wire type 7", [15]],
    ["a message that goes on behind its end", [10, 2, 42, 5, 1, 1, 1, 1, 1]],
    ["a text that is not UTF-8", [10, 4, 42, 2, 0xc3, 0x28]],
    ["a long text that is not UTF-8", [10, 32, 42, 30, ...Array(29).fill(97), 0xff]],
  ])) {
    assert.throws(() => read(...bytes), Malformed, what);
  }
  assert.throws(() => authorize?.read(new Reader(Buffer.from([16, 2]))), /2 is none of: publish, subscribe/);
  assert.equal(read(10, 5, 42, 3, 0xef, 0xbf, 0xbd).message.topic, "\uFFFD", "the replacement character itself is fine");
});

test("a header called __proto__ is one like others", () => {
  const entry = [66, 14, 10, 9, ...Buffer.from("__proto__"), 18, 1, 120];
  const { headers } = read(10, entry.length, ...entry).message;
  assert.deepEqual(Object.entries(headers), [["__proto__", "x"]]);
  assert.equal(Object.getPrototypeOf(headers), Object.prototype);
});
