import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

// The contract's messages, written and read by another library than the SDK's own.

const root = new protobuf.Root();
const protos = ["emqx/exhook/v3/exhook.proto", "hookmux/plugin/v1/plugin.proto"];
root.loadSync(protos.map((f) => fileURLToPath(new URL(`../../../../proto/${f}`, import.meta.url))));

/**
 * @param {string} name such as "ClientConnectRequest" or "Events"
 */
export function type(name) {
  const full = ["Events", "Replies"].includes(name) ? `hookmux.plugin.v1.${name}` : `emqx.exhook.v3.${name}`;
  return root.lookupType(full);
}

/**
 * @param {string} name
 * @param {object} message
 */
export function encode(name, message) {
  const t = type(name);
  const wrong = t.verify(message);
  if (wrong) throw new Error(`${name}: ${wrong}`);
  return Buffer.from(t.encode(t.fromObject(message)).finish());
}

/**
 * @param {string} name
 * @param {Uint8Array} bytes
 * @returns {any}
 */
export function decode(name, bytes) {
  const t = type(name);
  return t.toObject(t.decode(bytes), { longs: Number, enums: String, defaults: true, bytes: Buffer });
}
