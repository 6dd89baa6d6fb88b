import assert from "node:assert/strict";
import { test } from "node:test";
import { semver } from "../tools/version.js";

test("the project's version as npm writes it", () => {
  for (const [described, want] of [
    ["v1.2.3", "1.2.3"],
    ["v1.2.3-dirty", "1.2.4-dev.dirty"],
    ["v1.2.3-4-gabcdef1", "1.2.4-dev.4.gabcdef1"],
    ["v1.2.3-4-gabcdef1-dirty", "1.2.4-dev.4.gabcdef1.dirty"],
    ["v1.2.3-rc.1", "1.2.3-rc.1"],
    ["v1.2.3-rc.1-4-gabcdef1", "1.2.3-rc.1.dev.4.gabcdef1"],
    ["0123456", "0.0.0-dev.g0123456"],
    ["0123456-dirty", "0.0.0-dev.g0123456.dirty"],
    ["dev", "0.0.0-dev"],
  ]) {
    assert.equal(semver(described), want, described);
  }
});
