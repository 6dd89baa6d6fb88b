import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../src/config.js";
import { duration, mapOf } from "../src/index.js";

const shape = {
  url: String,
  retries: 3,
  on: true,
  topics: ["#"],
  words: [String],
  pool: { size: 10, names: [String] },
  users: mapOf({ password: String, admin: false }),
  wait: (value = "5s") => duration(value),
};

/** @param {any} value */
const parse = (value, s = /** @type {any} */ (shape)) => parseConfig(JSON.stringify(value), s);

test("defaults and what is given", () => {
  assert.deepEqual(parse({ url: "x" }), {
    url: "x", retries: 3, on: true, topics: ["#"], words: [], pool: { size: 10, names: [] }, users: {}, wait: 5000,
  });
  const given = {
    url: "y", retries: 0, on: false, topics: ["a", "b"], words: ["w"], pool: { size: 1, names: ["n"] },
    users: { alice: { password: "p", admin: true }, bob: { password: "q" } }, wait: "1m30s",
  };
  assert.deepEqual(parse(given), { ...given, users: { alice: { password: "p", admin: true }, bob: { password: "q", admin: false } }, wait: 90_000 });
  assert.deepEqual(parseConfig("{}", undefined), {});
});

test("what is wrong is named", () => {
  for (const [value, why] of /** @type {[any, RegExp][]} */ ([
    [{ url: "x", retrys: 1 }, /unknown key "retrys" \(did you mean "retries"\?\); allowed: url, retries,/],
    [{ url: "x", pool: { sizes: 1 } }, /unknown key "pool.sizes" \(did you mean "size"\?\); allowed: size, names/],
    [{}, /key "url" is missing: a string/],
    [{ url: null }, /key "url" is missing/],
    [{ url: 1 }, /key "url" must be a string, not a number/],
    [{ url: "x", retries: "3" }, /key "retries" must be a number, not a string/],
    [{ url: "x", on: 1 }, /key "on" must be true or false, not a number/],
    [{ url: "x", topics: "#" }, /key "topics" must be a list, not a string/],
    [{ url: "x", words: ["a", 1] }, /key "words\[1\]" must be a string, not a number/],
    [{ url: "x", pool: [] }, /key "pool" must be an object, not a list/],
    [{ url: "x", users: { bob: {} } }, /key "users.bob.password" is missing/],
    [{ url: "x", users: { bob: 1 } }, /key "users.bob" must be an object, not a number/],
    [{ url: "x", wait: "5 sec" }, /key "wait": expected a time span such as "5s"/],
    [[], /must be an object of keys and values/],
  ])) {
    assert.throws(() => parse(value), why);
  }
  assert.throws(() => parseConfig('{"a": 1}', undefined), /unknown key "a"; no keys are allowed here/);
  assert.throws(() => parse({}, { wait: duration }), /key "wait" is missing: expected a time span/);
  assert.throws(() => parseConfig("{", shape), /config: not JSON/);
  assert.throws(() => parse(JSON.parse('{"url": "x", "__proto__": 1}')), /unknown key "__proto__"/);
});
