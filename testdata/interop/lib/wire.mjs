// The TLS presentation language (RFC 8446, Section 3): a strict reader and the
// few functions that write it.

// Refused is the error of everything a peer can get wrong. reason is one word of
// the closed lists in testdata/vectors/README.md.
export class Refused extends Error {
  constructor(reason, text) {
    super(text === undefined ? reason : `${reason}: ${text}`);
    this.name = 'Refused';
    this.reason = reason;
  }
}

export function refuse(reason, text) {
  throw new Refused(reason, text);
}

// demand refuses with reason unless the condition holds.
export function demand(condition, reason, text) {
  if (!condition) refuse(reason, text);
}

// Reader takes fields from the front of a buffer. A read beyond the end, or bytes
// left over at done(), is a refusal with the reason given.
export class Reader {
  constructor(bytes, reason = 'malformed') {
    this.bytes = bytes;
    this.reason = reason;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(n) {
    demand(n <= this.left, this.reason, `${n} bytes wanted, ${this.left} left`);
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }

  uint(size) {
    return this.take(size).readUIntBE(0, size);
  }

  // vector reads opaque<min..max> with a length of `size` bytes.
  vector(size, min, max) {
    const n = this.uint(size);
    demand(n >= min && n <= max, this.reason, `vector of ${n} bytes, not ${min} to ${max}`);
    return this.take(n);
  }

  // inner is a Reader of the vector that follows.
  inner(size, min, max) {
    return new Reader(this.vector(size, min, max), this.reason);
  }

  done() {
    demand(this.left === 0, this.reason, `${this.left} bytes left over`);
  }
}

export function uint(size, n) {
  const b = Buffer.alloc(size);
  b.writeUIntBE(n, 0, size);
  return b;
}

export function vector(size, ...parts) {
  const body = Buffer.concat(parts);
  return Buffer.concat([uint(size, body.length), body]);
}

export function hex(bytes) {
  return Buffer.from(bytes).toString('hex');
}

// unhex reads lower-case hex and nothing else; Buffer.from would stop silently at
// the first character that is not hex.
export function unhex(text) {
  if (typeof text !== 'string' || !/^([0-9a-f]{2})*$/.test(text)) {
    throw new TypeError(`not lower-case hex: ${String(text).slice(0, 40)}`);
  }
  return Buffer.from(text, 'hex');
}
