// A strict JSON reader (RFC 8259). JSON.parse does not tell that a member stands
// twice, how a number was written, or how deep a text is nested. Nodes are
//
//   {t: 'object', v: [[name, node]]}  {t: 'array', v: [node]}  {t: 'string', v: string}
//   {t: 'number', v: as written}  {t: 'literal', v: true|false|null}

import { demand, refuse } from './wire.mjs';

export class JsonReader {
  constructor(bytes, { depth = 16 } = {}) {
    try {
      this.text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      refuse('syntax', 'not UTF-8');
    }
    this.at = 0;
    this.depth = depth;
  }

  fail() {
    refuse('syntax', `not JSON at character ${this.at}`);
  }

  space() {
    while (' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at++;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const m = pattern.exec(this.text);
    if (m === null) this.fail();
    this.at += m[0].length;
    return m[0];
  }

  expect(c) {
    if (this.text[this.at] !== c) this.fail();
    this.at++;
  }

  value(depth = 0) {
    demand(depth <= this.depth, 'too-deep', 'nested too deep');
    switch (this.text[this.at]) {
      case '{':
        return { t: 'object', v: this.list('{', '}', () => this.member(depth)) };
      case '[':
        return { t: 'array', v: this.list('[', ']', () => this.value(depth + 1)) };
      case '"':
        return { t: 'string', v: this.string() };
      case 't':
      case 'f':
      case 'n':
        return { t: 'literal', v: JSON.parse(this.match(/true|false|null/y)) };
      default:
        return { t: 'number', v: this.match(/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y) };
    }
  }

  list(open, close, read) {
    const out = [];
    this.expect(open);
    this.space();
    if (this.text[this.at] === close) {
      this.at++;
      return out;
    }
    for (;;) {
      this.space();
      out.push(read());
      this.space();
      if (this.text[this.at] === close) break;
      this.expect(',');
    }
    this.at++;
    return out;
  }

  member(depth) {
    if (this.text[this.at] !== '"') this.fail();
    const name = this.string();
    this.space();
    this.expect(':');
    this.space();
    return [name, this.value(depth + 1)];
  }

  // string reads a string. Half of a surrogate pair becomes U+FFFD.
  string() {
    const raw = this.match(/"([^"\\\u0000-\u001f]|\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y);
    return Buffer.from(JSON.parse(raw), 'utf8').toString('utf8');
  }
}
