import path from "node:path";
import { ConfigError } from "./config.js";
import { log, logToHookmux } from "./log.js";
import { Handler, hooksOf, PluginError } from "./plugin.js";
import { leaveStdout } from "./stdio.js";

const COOKIE = ["HOOKMUX_PLUGIN", "9f6cf0b2-exhook"];

const exitFailed = 1;
const exitUsage = 2;

/** How long onStop may take, in milliseconds. */
const stopWithin = 1500;

/** Whether hookmux has started this process. */
const underHookmux = process.env[COOKIE[0]] === COOKIE[1];

// As early as the SDK is imported, before anything prints.
if (underHookmux) {
  leaveStdout();
  logToHookmux();
}

/** The provider's name in hookmux.yaml, or the program's. */
export const name = process.env.HOOKMUX_NAME || path.basename(process.argv[1] ?? "plugin");

/**
 * Runs a plugin until it is told to stop, and then ends the process.
 * @param {any} plugin
 */
export function serve(plugin) {
  if (underHookmux) hosted(plugin);
  else byHand(plugin);
}

/** @param {any} plugin */
async function hosted(plugin) {
  process.on("uncaughtException", (err, origin) => {
    if (process.listenerCount("uncaughtException") > 1) return; // the plugin has its own
    log.error(`${origin === "unhandledRejection" ? "unhandled rejection" : "uncaught exception"}: the plugin ends`, { error: err });
    process.exit(exitFailed);
  });
  try {
    const handler = new Handler(plugin, process.env.HOOKMUX_CONFIG || "{}");
    await within("onStart", handler.start());
    const { serveHosted } = await import("./hosted.js");
    await serveHosted(handler);
    await within("onStop", handler.stop(), stopWithin);
    process.exit(0);
  } catch (err) {
    fail(err);
  }
}

/**
 * @param {string} method
 * @param {Promise<void>} done
 * @param {number} [limit]
 */
async function within(method, done, limit) {
  let timer;
  try {
    await (limit === undefined ? done : Promise.race([done, new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${limit} ms`)), limit);
    })]));
  } catch (err) {
    log.error(`${method} failed`, { error: err });
    throw new PluginError(`${method}: ${err instanceof Error ? err.message : err}`);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {any} err */
function fail(err) {
  const said = err instanceof PluginError || err instanceof ConfigError;
  process.stderr.write(`${name}: ${said ? err.message : (err?.stack ?? err)}\n`);
  process.exit(exitFailed);
}

/**
 * What a plugin says that was started by hand.
 * @param {any} plugin
 */
function byHand(plugin) {
  let handler;
  try {
    handler = new Handler(plugin, process.env.HOOKMUX_CONFIG || "{}");
  } catch (err) {
    if (!(err instanceof ConfigError) || process.env.HOOKMUX_CONFIG) return fail(err);
    handler = { hooks: hooksOf(typeof plugin === "function" ? plugin.prototype : plugin), topics: {} };
  }
  const program = path.resolve(process.argv[1] ?? "plugin.js");
  const topics = /** @type {Record<string, string[]>} */ (handler.topics);
  const hooks = handler.hooks.map(({ hook }) => `  ${hook}${topics[hook] ? `  (topics ${topics[hook].join(", ")})` : ""}\n`);
  const file = path.basename(program).replace(/\.[cm]?[jt]s$/, "");
  const provider = (["main", "index", "plugin"].includes(file) ? path.basename(path.dirname(program)) : file).toLowerCase().replace(/[^a-z0-9_-]/g, "-");
  process.stderr.write(`${path.basename(program)} is a plugin of hookmux, a sidecar for the MQTT broker EMQX.
It answers:
${hooks.join("")}
hookmux starts it, by these lines in hookmux.yaml:

providers:
  - name: ${provider}
    command: [node, ${JSON.stringify(program)}]
    config: {}
`);
  process.exit(process.argv.some((a) => a === "--help" || a === "-h") ? 0 : exitUsage);
}
