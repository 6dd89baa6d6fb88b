import { format, inspect } from "node:util";
import { statusOf, UNKNOWN } from "./call.js";
import { output } from "./stdio.js";

// hookmux reads lines of JSON with level and msg, up to 8 KiB a line.
const maxLine = 8000; // bytes
const maxText = 3000; // characters of the message, and of a stack, in a line that would be longer
const maxValue = 500; // characters of any other

let structured = false;

/**
 * @param {"DEBUG" | "INFO" | "WARN" | "ERROR"} level
 * @param {string} msg
 * @param {Record<string, any>} [attrs]
 */
function write(level, msg, attrs) {
  if (!structured) {
    const more = Object.entries(attrs ?? {}).map(([k, v]) => ` ${k}=${typeof v === "string" ? v : inspect(v, { breakLength: Infinity })}`);
    process.stderr.write(`${level} ${msg}${more.join("")}\n`);
    return;
  }
  let line = encode(level, msg, attrs);
  if (line.length > maxLine / 4 && Buffer.byteLength(line) > maxLine) line = encode(level, cut(msg, maxText), shortened(attrs));
  if (line.length > maxLine / 4 && Buffer.byteLength(line) > maxLine) line = encode(level, cut(msg, 1000));
  output.line(line);
}

/**
 * @param {string} level
 * @param {string} msg
 * @param {Record<string, any>} [attrs]
 */
function encode(level, msg, attrs) {
  if (!attrs) return `{"level":"${level}","msg":${JSON.stringify(msg || " ")}}\n`;
  try {
    return `${JSON.stringify({ ...attrs, ...reserved(attrs), level, msg: msg || " " }, plain)}\n`;
  } catch { // it refers to itself
    return `${JSON.stringify({ level, msg: msg || " ", attrs: inspect(attrs) })}\n`;
  }
}

/**
 * An attribute cannot take the place of the level or the message.
 * @param {Record<string, any>} attrs
 */
function reserved(attrs) {
  /** @type {Record<string, any>} */
  const moved = {};
  for (const key of ["level", "msg"]) if (key in attrs) moved[`${key}_`] = attrs[key];
  return moved;
}

/**
 * @param {string} _
 * @param {any} value
 */
function plain(_, value) {
  if (value instanceof Error) return value.stack ?? String(value);
  return typeof value === "bigint" ? String(value) : value;
}

/** @param {Record<string, any> | undefined} attrs */
function shortened(attrs) {
  if (!attrs) return undefined;
  return Object.fromEntries(Object.entries(attrs).slice(0, 10).map(([k, v]) => {
    if (v instanceof Error || k === "stack") return [k, cut(String(v?.stack ?? v), maxText)];
    return [cut(k, 100), typeof v === "object" && v !== null ? cut(inspect(v), maxValue) : typeof v === "string" ? cut(v, maxValue) : v];
  }));
}

/**
 * @param {string} text
 * @param {number} most
 */
function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}… (${text.length - most} more characters)` : text;
}

/** Writes to hookmux's log. */
export const log = {
  /** @param {string} msg @param {Record<string, any>} [attrs] */
  debug(msg, attrs) { write("DEBUG", msg, attrs); },
  /** @param {string} msg @param {Record<string, any>} [attrs] */
  info(msg, attrs) { write("INFO", msg, attrs); },
  /** @param {string} msg @param {Record<string, any>} [attrs] */
  warn(msg, attrs) { write("WARN", msg, attrs); },
  /** @param {string} msg @param {Record<string, any>} [attrs] */
  error(msg, attrs) { write("ERROR", msg, attrs); },
};

/**
 * What console makes of its arguments; format is slow on those that need none.
 * @param {any[]} args
 */
function text(args) {
  return args.every((a) => typeof a === "string") && !args[0]?.includes("%") ? args.join(" ") : format(...args);
}

/** From now on the log is hookmux's, and console writes to it too. */
export function logToHookmux() {
  structured = true;
  console.debug = (...args) => write("DEBUG", text(args));
  console.log = console.info = (...args) => write("INFO", text(args));
  console.warn = (...args) => write("WARN", text(args));
  console.error = (...args) => write("ERROR", text(args));
}

const maxFailures = 10; // that are logged in a second
let second = 0;
let failures = 0;

/**
 * Logs what a method threw, with its stack, unless it only ran out of time or
 * what it needs is away.
 * hookmux logs the text too, but has no stack.
 * @param {string} method
 * @param {any} err
 */
export function failed(method, err) {
  if (statusOf(err) !== UNKNOWN) return;
  const now = Math.floor(performance.now() / 1000);
  if (now !== second) [second, failures] = [now, 0];
  if (failures++ < maxFailures) log.error(`${method} failed`, { error: err });
}
