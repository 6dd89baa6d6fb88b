import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import grpc from "@grpc/grpc-js";
import { Calls } from "./calls.js";
import { NOT_FOUND } from "./call.js";
import { PluginError } from "./plugin.js";
import { BYTES, Reader, Writer } from "./protobuf.js";
import { printHandshake } from "./stdio.js";
import { streams } from "./streams.js";
import { unary } from "./unary.js";

// How long stopping may take, in milliseconds. hookmux kills a plugin 2 s after
// it has answered Shutdown, which it does after the drain.
const drainWithin = 1000;
const lastAnswersWithin = 250;
const parentPoll = 500;

/** Who started us, noted as early as possible: after the parent's end it is another. */
const parent = process.ppid;

/** @type {Record<string, typeof unary>} */
const protocols = { 1: unary, 2: streams };

/**
 * A service of a gRPC server whose messages are bytes.
 * @typedef {object} Service
 * @property {string} name
 * @property {Record<string, { streams: boolean, replies?: boolean, handle: (call: any, reply: any) => void }>} methods
 */

/**
 * Serves hookmux until it says Shutdown, SIGTERM comes or the parent process is
 * gone.
 * @param {import("./plugin.js").Handler} handler
 */
export async function serveHosted(handler) {
  const protocol = negotiate(process.env.PLUGIN_PROTOCOL_VERSIONS);
  const calls = new Calls();
  const service = protocols[protocol](handler, calls);

  /** @type {() => void} */
  let stopped = () => {};
  const untilStopped = new Promise((resolve) => { stopped = () => resolve(undefined); });
  /** @type {Promise<void> | undefined} */
  let stopping;
  /** Lets the calls under way end, and takes no new ones. */
  const stop = () => {
    stopping ??= calls.drain(drainWithin).then(service.end);
    return stopping;
  };
  const told = () => stop().then(stopped);

  const server = new grpc.Server({
    "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1,
    "grpc.enable_channelz": 0,
    "grpc-node.flow_control_window": 4 << 20,
  });
  addService(server, service);
  addService(server, health);
  addService(server, {
    name: "plugin.GRPCController",
    methods: {
      Shutdown: {
        streams: false,
        handle: (_, reply) => stop().then(() => {
          reply(null, Buffer.alloc(0));
          setImmediate(stopped); // the answer is on its way
        }),
      },
    },
  });

  const folder = process.env.PLUGIN_UNIX_SOCKET_DIR || fs.mkdtempSync(path.join(os.tmpdir(), "plugin-"));
  const socket = path.join(folder, `plugin${randomBytes(6).toString("hex")}`);
  await new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (err) => (err ? reject(err) : resolve(undefined)));
  });
  process.on("SIGTERM", told);
  process.on("SIGINT", () => {}); // hookmux decides when it ends
  const watch = setInterval(() => {
    if (process.ppid !== parent) told();
  }, parentPoll);
  printHandshake(`1|${protocol}|unix|${socket}|grpc`);

  await untilStopped;
  clearInterval(watch);
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, lastAnswersWithin);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
  server.forceShutdown();
  fs.rmSync(socket, { force: true });
}

/**
 * The highest app protocol that both sides know.
 * @param {string | undefined} offered such as "1,2"
 */
function negotiate(offered = "1") {
  const common = offered.split(",").filter((v) => v in protocols);
  if (common.length === 0) throw new PluginError(`hookmux offers the app protocols ${offered}; this SDK knows ${Object.keys(protocols).join(", ")}`);
  return Math.max(...common.map(Number));
}

/**
 * @param {grpc.Server} server
 * @param {Service} service
 */
function addService(server, service) {
  /** @type {any} */
  const definition = {};
  /** @type {any} */
  const handlers = {};
  const asIs = (/** @type {Buffer} */ b) => b;
  for (const [name, m] of Object.entries(service.methods)) {
    definition[name] = {
      path: `/${service.name}/${name}`, requestStream: m.streams, responseStream: m.replies ?? m.streams,
      requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs,
    };
    handlers[name] = m.handle;
  }
  server.addService(definition, handlers);
}

const SERVING = new Writer().varint(1, 1).finish();

/**
 * grpc.health.v1 with the service that go-plugin's host asks for.
 * @type {Service}
 */
const health = {
  name: "grpc.health.v1.Health",
  methods: {
    Check: {
      streams: false,
      handle: (call, reply) => (known(call.request) ? reply(null, SERVING) : reply({ code: NOT_FOUND, details: "unknown service" })),
    },
    Watch: {
      streams: false, replies: true,
      handle: (call) => {
        call.write(known(call.request) ? SERVING : new Writer().varint(1, 3).finish()); // SERVICE_UNKNOWN
      },
    },
  },
};

/** @param {Buffer} request */
function known(request) {
  const r = new Reader(request);
  let service = "";
  while (r.next()) {
    if (r.tag === ((1 << 3) | BYTES)) service = r.string();
    else r.skip();
  }
  return service === "" || service === "plugin";
}
