import { isUtf8 } from "node:buffer";

// The wire format of protobuf, as far as ExHook and the batches need it. Reading
// is as strict as hookmux itself is: what it refuses is refused here.

/** Bytes that are not what they should be. */
export class Malformed extends Error {}

/** Wire types. */
export const VARINT = 0;
export const BYTES = 2;

/**
 * Reads a message: next() goes to a field, and one of the other methods takes its
 * value. The value of an unknown field is taken by skip().
 */
export class Reader {
  /**
   * @param {Buffer} buf
   * @param {number} pos
   * @param {number} end
   */
  constructor(buf, pos = 0, end = buf.length) {
    this.buf = buf;
    this.pos = pos;
    this.end = end;
    this.tag = 0; // number << 3 | wire type
  }

  /** The tag of the next field, 0 at the end. */
  next() {
    if (this.pos >= this.end) return 0;
    this.tag = this.uint32();
    if (this.tag >>> 3 === 0) throw new Malformed("a field has the number 0");
    return this.tag;
  }

  /** The lower 32 bits of a varint. */
  uint32() {
    const { buf } = this;
    let b = buf[this.pos++];
    if (b < 128 && this.pos <= this.end) return b;
    let value = b & 127;
    for (let shift = 7; b > 127; shift += 7) {
      if (shift > 63) throw new Malformed("a number is too long");
      b = buf[this.pos++];
      if (shift < 32) value |= (b & 127) << shift;
    }
    if (this.pos > this.end) throw new Malformed("it ends in the middle of a number");
    return value >>> 0;
  }

  /**
   * A varint, as a bigint if no number holds it.
   * @returns {number | bigint}
   */
  uint64() {
    const start = this.pos;
    const value = this.uint32();
    const bytes = this.pos - start;
    if (bytes < 5) return value; // 28 bits at most
    let big = 0n;
    for (let i = this.pos - 1; i >= start; i--) big = (big << 7n) | BigInt(this.buf[i] & 127);
    big = BigInt.asUintN(64, big);
    return big <= Number.MAX_SAFE_INTEGER ? Number(big) : big;
  }

  /** An unsigned varint as a number; it is exact up to 2^53. */
  unsigned() {
    return Number(this.uint64());
  }

  /** A signed varint as a number; it is exact up to 2^53. */
  signed() {
    const value = this.uint64();
    return typeof value === "number" ? value : Number(BigInt.asIntN(64, value));
  }

  bool() {
    return this.uint64() !== 0;
  }

  /** Goes behind a length-delimited value and gives the position where it begins. */
  delimited() {
    const length = this.uint32();
    const start = this.pos;
    this.pos = start + length;
    if (this.pos > this.end) throw new Malformed("it ends in the middle of a value");
    return start;
  }

  /** A view into the buffer. */
  bytes() {
    const start = this.delimited();
    return this.buf.subarray(start, this.pos);
  }

  string() {
    const start = this.delimited();
    return text(this.buf, start, this.pos);
  }

  /**
   * A message inside this one.
   * @template T
   * @param {(r: Reader) => T} read
   * @returns {T}
   */
  message(read) {
    const start = this.delimited();
    const { pos, end } = this;
    this.pos = start;
    this.end = pos;
    const m = read(this);
    this.pos = pos;
    this.end = end;
    return m;
  }

  /**
   * One entry of a map<string, string>.
   * @param {Record<string, string>} map
   */
  entry(map) {
    const start = this.delimited();
    const { pos, end } = this;
    this.pos = start;
    this.end = pos;
    let key = "";
    let value = "";
    for (let tag = this.next(); tag !== 0; tag = this.next()) {
      if (tag === 10) key = this.string();
      else if (tag === 18) value = this.string();
      else this.skip();
    }
    if (key === "__proto__") Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
    else map[key] = value;
    this.pos = pos;
    this.end = end;
  }

  /** Goes behind the value of a field that nobody wants. */
  skip() {
    switch (this.tag & 7) {
      case VARINT:
        this.uint32();
        return;
      case 1:
        this.pos += 8;
        break;
      case BYTES:
        this.delimited();
        return;
      case 3: {
        const group = this.tag >>> 3;
        for (;;) {
          if (this.next() === 0) throw new Malformed("it ends in the middle of a group");
          if ((this.tag & 7) === 4) break;
          this.skip();
        }
        if (this.tag >>> 3 !== group) throw new Malformed("a group ends that has not begun");
        return;
      }
      case 5:
        this.pos += 4;
        break;
      default:
        throw new Malformed(`field ${this.tag >>> 3} has the wire type ${this.tag & 7}`);
    }
    if (this.pos > this.end) throw new Malformed("it ends in the middle of a value");
  }
}

/**
 * Short texts of ASCII, which most are, are read faster here than by a call into V8.
 * @param {Buffer} buf
 * @param {number} start
 * @param {number} end
 */
function text(buf, start, end) {
  if (end - start <= 24) {
    let s = "";
    let i = start;
    for (; i < end && buf[i] < 128; i++) s += ascii[buf[i]];
    if (i === end) return s;
  }
  const s = buf.toString("utf8", start, end);
  if (s.includes("\uFFFD") && !isUtf8(buf.subarray(start, end))) throw new Malformed("a text is not UTF-8");
  return s;
}

const ascii = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i));

/**
 * Writes a message, piece by piece. What is added as bytes is not copied before
 * finish().
 */
export class Writer {
  constructor() {
    /** @type {Buffer[]} */
    this.parts = [];
    this.length = 0;
  }

  /** @param {Buffer} part */
  raw(part) {
    this.parts.push(part);
    this.length += part.length;
    return this;
  }

  /**
   * A varint field, left out if it is 0.
   * @param {number} field
   * @param {number} value
   */
  varint(field, value) {
    if (value) this.raw(Buffer.from(varint(varint([], field << 3), value)));
    return this;
  }

  /**
   * A bytes field, left out if it is empty unless it must be there.
   * @param {number} field
   * @param {Uint8Array} value
   */
  bytes(field, value, always = false) {
    if (value.length === 0 && !always) return this;
    this.raw(Buffer.from(varint(varint([], (field << 3) | BYTES), value.length)));
    return this.raw(Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength));
  }

  /**
   * @param {number} field
   * @param {string} value
   */
  string(field, value, always = false) {
    return this.bytes(field, Buffer.from(value), always);
  }

  finish() {
    return this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts, this.length);
  }
}

/**
 * Appends a varint to the bytes of out, and gives these.
 * @param {number[]} out
 * @param {number | bigint} value
 */
export function varint(out, value) {
  if (typeof value === "bigint") {
    for (; value > 127n; value >>= 7n) out.push(Number(value & 127n) | 128);
    out.push(Number(value));
    return out;
  }
  for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  out.push(value);
  return out;
}
