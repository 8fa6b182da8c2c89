// DER (X.690): a reader that knows what a certificate needs, and a writer.

import { demand, refuse } from './wire.mjs';

// readElement reads the element at `at`: tag, where its content begins and ends.
// Only single-byte tags and minimal lengths of up to three bytes exist here.
function readElement(bytes, at, end) {
  demand(at + 2 <= end, 'der', 'truncated');
  const tag = bytes[at];
  demand((tag & 0x1f) !== 0x1f, 'der', 'long tag');
  let length = bytes[at + 1];
  let start = at + 2;
  if (length >= 0x80) {
    const size = length & 0x7f;
    demand(size >= 1 && size <= 3 && start + size <= end, 'der', 'length');
    length = bytes.readUIntBE(start, size);
    demand(length >= 0x80 && length >= 2 ** (8 * (size - 1)), 'der', 'length is not minimal');
    start += size;
  }
  demand(start + length <= end, 'der', 'truncated');
  return { tag, start, end: start + length };
}

// Der walks the elements of one constructed element.
export class Der {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  peek() {
    return this.left === 0 ? -1 : this.bytes[this.at];
  }

  // next takes an element of the tag: its content, and all of it as it stands.
  next(tag) {
    const e = readElement(this.bytes, this.at, this.bytes.length);
    demand(tag === undefined || e.tag === tag, 'der', `tag ${e.tag}, not ${tag}`);
    const whole = this.bytes.subarray(this.at, e.end);
    this.at = e.end;
    return { tag: e.tag, content: this.bytes.subarray(e.start, e.end), whole };
  }

  // enter takes an element of the tag and walks its content.
  enter(tag) {
    return new Der(this.next(tag).content);
  }

  optional(tag) {
    return this.peek() === tag ? this.next(tag) : null;
  }

  done() {
    demand(this.left === 0, 'der', 'bytes left over');
  }
}

export const tags = { bool: 1, int: 2, bits: 3, octets: 4, oid: 6, utf8: 12, printable: 19, utc: 23, time: 24, seq: 0x30, set: 0x31 };

export function readOid(content) {
  demand(content.length > 0 && content[content.length - 1] < 0x80, 'der', 'object identifier');
  const arcs = [];
  let n = 0;
  for (const b of content) {
    demand(n !== 0 || b !== 0x80, 'der', 'object identifier');
    n = n * 128 + (b & 0x7f);
    if (b < 0x80) {
      arcs.push(n);
      n = 0;
    }
  }
  const first = Math.min(2, Math.floor(arcs[0] / 40));
  return [first, arcs[0] - 40 * first, ...arcs.slice(1)].join('.');
}

// readTime reads UTCTime or GeneralizedTime as RFC 5280, Section 4.1.2.5 wants it.
export function readTime(element) {
  let text = element.content.toString('latin1');
  if (element.tag === tags.utc) text = (Number(text.slice(0, 2)) < 50 ? '20' : '19') + text;
  else demand(element.tag === tags.time, 'der', 'time');
  const m = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (m === null) refuse('der', 'time');
  const t = Date.parse(`${m[1]}-${m[2]}-${m[3]}T${m[4]}:${m[5]}:${m[6]}Z`);
  demand(!Number.isNaN(t), 'der', 'time');
  return t;
}

// element writes one element around its parts.
export function element(tag, ...parts) {
  const body = Buffer.concat(parts);
  let length = [body.length];
  if (body.length >= 0x100) length = [0x82, body.length >> 8, body.length & 0xff];
  else if (body.length >= 0x80) length = [0x81, body.length];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

export const seq = (...parts) => element(tags.seq, ...parts);

export function integer(bytes) {
  let b = Buffer.from(bytes);
  while (b.length > 1 && b[0] === 0 && b[1] < 0x80) b = b.subarray(1);
  return element(tags.int, b[0] >= 0x80 ? Buffer.concat([Buffer.from([0]), b]) : b);
}

export function oid(text) {
  const [a, b, ...rest] = text.split('.').map(Number);
  const out = [];
  for (const arc of [40 * a + b, ...rest]) {
    const group = [arc & 0x7f];
    for (let n = Math.floor(arc / 128); n > 0; n = Math.floor(n / 128)) group.unshift((n & 0x7f) | 0x80);
    out.push(...group);
  }
  return element(tags.oid, Buffer.from(out));
}

// time writes UTCTime or, from 2050 on, GeneralizedTime.
export function time(ms) {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  const utc = Number(text.slice(0, 4)) < 2050;
  return element(utc ? tags.utc : tags.time, Buffer.from(utc ? text.slice(2) : text));
}
