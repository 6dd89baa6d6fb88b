import { didYouMean } from "./nearest.js";

// A shape says what a config may hold: by a default, whose type it is, or by
// what must be there. index.d.ts has it in types.

/** A key that may have any name. */
class MapOf {
  /** @param {any} shape */
  constructor(shape) {
    this.shape = shape;
  }
}

/**
 * The shape of an object with any keys, whose values have the given shape.
 * @param {any} shape
 */
export function mapOf(shape) {
  return new MapOf(shape);
}

/** What is wrong with a config. */
export class ConfigError extends Error {}

/**
 * The config that a JSON text holds, checked against its shape, with the defaults
 * filled in.
 * @param {string} json
 * @param {any} shape undefined: the plugin takes no config
 */
export function parseConfig(json, shape) {
  let value;
  try {
    value = JSON.parse(json);
  } catch (err) {
    throw new ConfigError(`config: not JSON: ${/** @type {Error} */ (err).message}`);
  }
  return checkConfig(value, shape);
}

/**
 * @param {any} value
 * @param {any} shape
 */
export function checkConfig(value, shape = {}) {
  if (!isObject(value)) throw new ConfigError("config: must be an object of keys and values");
  return object(value, shape, "");
}

/**
 * @param {Record<string, any>} value
 * @param {any} shape
 * @param {string} path
 */
function object(value, shape, path) {
  const known = Object.keys(shape);
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const which = known.length ? `${didYouMean(key, known)}; allowed: ${known.join(", ")}` : "; no keys are allowed here";
    throw new ConfigError(`config: unknown key "${join(path, key)}"${which}`);
  }
  /** @type {Record<string, any>} */
  const result = {};
  for (const key of known) {
    const given = Object.hasOwn(value, key) && value[key] !== null;
    result[key] = given ? check(value[key], shape[key], join(path, key)) : missing(shape[key], join(path, key));
  }
  return result;
}

/**
 * The value of a key that is not given.
 * @param {any} shape
 * @param {string} path
 */
function missing(shape, path) {
  if (shape instanceof MapOf) return {};
  if (Array.isArray(shape)) return shape.filter((element) => typeof element !== "function" && !isShape(element));
  if (shape === String || shape === Number || shape === Boolean) throw new ConfigError(`config: key "${path}" is missing: ${words(shape)}`);
  if (typeof shape === "function") return own(undefined, shape, `config: key "${path}" is missing`);
  return isObject(shape) ? object({}, shape, path) : shape;
}

/**
 * @param {any} value
 * @param {any} shape
 * @param {string} path
 * @returns {any}
 */
function check(value, shape, path) {
  if (shape instanceof MapOf) {
    if (!isObject(value)) throw wrong(value, shape, path);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, check(v, shape.shape, join(path, k))]));
  }
  if (Array.isArray(shape)) {
    if (shape.length === 0) throw new Error(`the shape of the config: the list ${path} must say what is in it, such as [String]`);
    if (!Array.isArray(value)) throw wrong(value, shape, path);
    return value.map((v, i) => check(v, shape[0], `${path}[${i}]`));
  }
  if (isObject(shape)) {
    if (!isObject(value)) throw wrong(value, shape, path);
    return object(value, shape, path);
  }
  const type = shape === String ? "string" : shape === Number ? "number" : shape === Boolean ? "boolean" : typeof shape;
  if (type === "function") return own(value, shape, `config: key "${path}"`);
  if (typeof value !== type) throw wrong(value, shape, path);
  return value;
}

/**
 * A value that a function of the plugin's own checks and converts.
 * @param {any} value
 * @param {(value: any) => any} convert
 * @param {string} where
 */
function own(value, convert, where) {
  try {
    return convert(value);
  } catch (err) {
    throw new ConfigError(`${where}: ${/** @type {Error} */ (err).message}`);
  }
}

/**
 * @param {any} value
 * @param {any} shape
 * @param {string} path
 */
function wrong(value, shape, path) {
  const found = value === null ? "null" : Array.isArray(value) ? "a list" : isObject(value) ? "an object" : words(value);
  return new ConfigError(`config: key "${path}" must be ${words(shape)}, not ${found}`);
}

/** @param {any} shape */
function words(shape) {
  if (shape instanceof MapOf) return "an object";
  if (Array.isArray(shape)) return "a list";
  if (shape === String || typeof shape === "string") return "a string";
  if (shape === Number || typeof shape === "number") return "a number";
  if (shape === Boolean || typeof shape === "boolean") return "true or false";
  return "an object";
}

/** @param {any} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Whether an element of a list says what is in the list, and is no default.
 * @param {any} element
 */
function isShape(element) {
  return element instanceof MapOf || Array.isArray(element) || isObject(element);
}

/**
 * @param {string} path
 * @param {string} key
 */
function join(path, key) {
  return path ? `${path}.${key}` : key;
}

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * A span of time as hookmux.yaml writes it, "250ms" or "1h30m", in milliseconds;
 * also for a shape.
 * @param {string} text
 */
export function duration(text) {
  const parts = [...String(text).matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== text) throw new Error('expected a time span such as "5s" or "250ms"');
  return parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[/** @type {keyof typeof units} */ (unit)], 0);
}
