import { Call, errorText, statusOf, UNAVAILABLE } from "./call.js";
import { methods, rows } from "./hooks.js";
import { failed } from "./log.js";

/**
 * The service of app protocol 1, the plain emqx.exhook.v3.HookProvider, for a gRPC
 * server whose messages are bytes.
 * @param {import("./plugin.js").Handler} handler
 * @param {import("./calls.js").Calls} calls
 */
export function unary(handler, calls) {
  return {
    name: "emqx.exhook.v3.HookProvider",
    methods: Object.fromEntries(methods.map((row) => {
      const method = /** @type {NonNullable<typeof handler.methods[number]>} */ (handler.methods[rows.indexOf(row)]);
      return [row.rpc, { streams: false, handle: (/** @type {any} */ rpc, /** @type {any} */ reply) => run(row, method, calls, rpc, reply) }];
    })),
    end() {},
  };
}

/**
 * @param {import("./hooks.js").Row} row
 * @param {(request: Buffer, call: Call) => Buffer | Promise<Buffer>} method
 * @param {import("./calls.js").Calls} calls
 * @param {any} rpc
 * @param {(err: any, answer?: Buffer) => void} reply
 */
function run(row, method, calls, rpc, reply) {
  if (calls.closed) {
    reply({ code: UNAVAILABLE, details: "the plugin is stopping" });
    return;
  }
  const deadline = rpc.getDeadline(); // a Date, or Infinity
  const call = new Call(row.hook, Number(deadline) - Date.now() + performance.now(), `${rpc.metadata.get("hookmux-event-id")[0] ?? ""}`);
  calls.enter();
  const end = () => {
    call.end();
    calls.leave();
  };
  const fail = (/** @type {any} */ err) => {
    failed(row.method, err);
    reply({ code: statusOf(err), details: errorText(row.method, err) });
    end();
  };
  let answer;
  try {
    answer = method(rpc.request, call);
  } catch (err) {
    fail(err);
    return;
  }
  if (Buffer.isBuffer(answer)) {
    reply(null, answer);
    end();
    return;
  }
  rpc.once("cancelled", () => call.cancel());
  answer.then((a) => {
    reply(null, a);
    end();
  }, fail);
}
