// CBOR (RFC 8949) as trees of nodes:
//
//   {t: 'int', v: BigInt}  {t: 'bytes', v: Buffer}  {t: 'text', v: string}
//   {t: 'array', v: [node]}  {t: 'map', v: [[key, value]]}  {t: 'tag', n: BigInt, v: node}
//   {t: 'simple', v: false|true|null|undefined|number}
//
// Decoded nodes also have `head`, the first byte, and `indefinite`.

import { demand, refuse, uint } from './wire.mjs';

// Decoder reads one item strictly. Options:
//
//   reason         of the refusal of what is not well-formed
//   deterministic  demand core deterministic encoding (RFC 8949, Section 4.2.1)
//   indefinite     allow arrays and maps of indefinite length
//   strings        allow strings of indefinite length, which give {t: 'chunks'}
//   depth          levels of arrays, maps and tags
//   badText        what becomes of text that is not UTF-8: refused unless given
export class Decoder {
  constructor(bytes, options) {
    this.bytes = bytes;
    this.at = 0;
    this.options = { depth: 16, ...options };
  }

  fail(text) {
    refuse(this.options.reason, text);
  }

  byte() {
    if (this.at >= this.bytes.length) this.fail('truncated');
    return this.bytes[this.at++];
  }

  take(n) {
    if (n > BigInt(this.bytes.length - this.at)) this.fail('truncated');
    this.at += Number(n);
    return this.bytes.subarray(this.at - Number(n), this.at);
  }

  // argument reads the argument of a head; null stands for an indefinite length.
  argument(info) {
    if (info < 24) return BigInt(info);
    if (info === 31) return null;
    if (info > 27) this.fail('reserved head');
    const size = 1 << (info - 24);
    const value = BigInt('0x' + this.take(BigInt(size)).toString('hex'));
    const least = size === 1 ? 24n : 1n << BigInt(4 * size);
    if (this.options.deterministic && value < least) this.fail('not the shortest form');
    return value;
  }

  item(depth = 0) {
    if (depth > this.options.depth) refuse(this.options.tooDeep ?? this.options.reason, 'nested too deep');
    const head = this.byte();
    const major = head >> 5;
    if (major === 7) return { head, ...this.simple(head & 31) };
    const n = this.argument(head & 31);
    const indefinite = n === null;
    if (indefinite && !(major >= 2 && major <= 5)) this.fail('reserved head');
    return { head, indefinite, ...this.content(major, n, depth) };
  }

  content(major, n, depth) {
    switch (major) {
      case 0:
        return { t: 'int', v: n };
      case 1:
        return { t: 'int', v: -1n - n };
      case 2:
      case 3:
        return n === null ? this.chunks(major) : this.string(major, this.take(n));
      case 4:
        return { t: 'array', v: this.list(n, () => this.item(depth + 1)) };
      case 5:
        return { t: 'map', v: this.entries(n, depth) };
      default:
        return { t: 'tag', n, v: this.item(depth + 1) };
    }
  }

  string(major, bytes) {
    if (major === 2) return { t: 'bytes', v: bytes };
    try {
      return { t: 'text', v: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
    } catch {
      if (this.options.badText === undefined) this.fail('text is not UTF-8');
      return { t: 'text', v: this.options.badText };
    }
  }

  chunks(major) {
    if (!this.options.strings) this.fail('string of indefinite length');
    while (this.bytes[this.at] !== 0xff) {
      const head = this.byte();
      if (head >> 5 !== major || (head & 31) === 31) this.fail('chunk of another kind');
      this.string(major, this.take(this.argument(head & 31)));
    }
    this.at++;
    return { t: 'chunks' };
  }

  // list reads n elements, or up to the break. Every element takes a byte at
  // least, so a length that cannot be is refused before anything is built.
  list(n, read) {
    if (n === null) {
      if (!this.options.indefinite) this.fail('indefinite length');
      const out = [];
      while (this.byte() !== 0xff) {
        this.at--;
        out.push(read());
      }
      return out;
    }
    if (n > BigInt(this.bytes.length - this.at)) this.fail('truncated');
    return Array.from({ length: Number(n) }, read);
  }

  entries(n, depth) {
    const seen = new Set();
    let last = null;
    return this.list(n, () => {
      const start = this.at;
      const key = this.item(depth + 1);
      const raw = this.bytes.subarray(start, this.at);
      if (this.options.deterministic && last !== null && Buffer.compare(last, raw) >= 0) this.fail('map keys out of order');
      last = raw;
      if (key.t === 'chunks') this.fail('key of indefinite length');
      const name = encode(key).toString('hex');
      demand(!seen.has(name), this.options.duplicate ?? this.options.reason, 'key twice');
      seen.add(name);
      return [key, this.item(depth + 1)];
    });
  }

  simple(info) {
    if (info === 24) {
      const v = this.byte();
      if (v < 32) this.fail('reserved simple value');
      return { t: 'simple', v };
    }
    if (info >= 25 && info <= 27) return { t: 'float', v: this.take(BigInt(1 << (info - 24))) };
    if (info > 27) this.fail('reserved head');
    return { t: 'simple', v: info < 20 ? info : [false, true, null, undefined][info - 20] };
  }
}

// decode reads exactly one item.
export function decode(bytes, options) {
  const d = new Decoder(bytes, options);
  const node = d.item();
  demand(d.at === bytes.length, options.trailing ?? options.reason, 'trailing bytes');
  return node;
}

function head(major, n) {
  const v = BigInt(n);
  if (v < 24n) return Buffer.from([(major << 5) | Number(v)]);
  for (const [info, size] of [[24, 1], [25, 2], [26, 4]]) {
    if (v < 1n << BigInt(8 * size)) return Buffer.concat([Buffer.from([(major << 5) | info]), uint(size, Number(v))]);
  }
  const b = Buffer.alloc(9);
  b[0] = (major << 5) | 27;
  b.writeBigUInt64BE(v, 1);
  return b;
}

// encode writes a node in core deterministic encoding.
export function encode(node) {
  switch (node.t) {
    case 'int':
      return node.v >= 0n ? head(0, node.v) : head(1, -1n - node.v);
    case 'bytes':
      return Buffer.concat([head(2, node.v.length), node.v]);
    case 'text': {
      const b = Buffer.from(node.v, 'utf8');
      return Buffer.concat([head(3, b.length), b]);
    }
    case 'array':
      return Buffer.concat([head(4, node.v.length), ...node.v.map(encode)]);
    case 'map': {
      const pairs = node.v.map(([k, v]) => [encode(k), encode(v)]);
      pairs.sort(([a], [b]) => Buffer.compare(a, b));
      return Buffer.concat([head(5, pairs.length), ...pairs.flat()]);
    }
    case 'tag':
      return Buffer.concat([head(6, node.n), encode(node.v)]);
    case 'float':
      return Buffer.concat([Buffer.from([0xe0 | { 2: 25, 4: 26, 8: 27 }[node.v.length]]), node.v]);
    default:
      return encodeSimple(node.v);
  }
}

function encodeSimple(v) {
  const known = [false, true, null, undefined].indexOf(v);
  if (known >= 0) return Buffer.from([0xe0 | (20 + known)]);
  return v < 24 ? Buffer.from([0xe0 | v]) : Buffer.from([0xf8, v]);
}

// Short forms for those who build nodes.
export const int = (v) => ({ t: 'int', v: BigInt(v) });
export const bytes = (v) => ({ t: 'bytes', v });
export const text = (v) => ({ t: 'text', v });
export const bool = (v) => ({ t: 'simple', v });
export const array = (...v) => ({ t: 'array', v });
export const map = (...v) => ({ t: 'map', v });
export const tag = (n, v) => ({ t: 'tag', n: BigInt(n), v });

// intMap gives the values of a map with integer keys, by the key as a number.
// Other keys are dropped, or refused with the reason.
export function intMap(node, reason) {
  const out = new Map();
  for (const [k, v] of node.v) {
    if (k.t === 'int') out.set(Number(k.v), v);
    else if (reason !== undefined) refuse(reason, 'a key that is no integer');
  }
  return out;
}
