// The readers and writers: TLS presentation, DER, CBOR, JSON, media types, frames.

import assert from 'node:assert';
import test from 'node:test';
import * as cbor from '../lib/cbor.mjs';
import { readClaims, writeClaims } from '../lib/claims.mjs';
import { Der, integer, oid, readOid, readTime, seq, tags, time } from '../lib/der.mjs';
import { takeFrame, writeAlert, writeFrame, writeHello, writeResult, readFrame } from '../lib/frames.mjs';
import { JsonReader } from '../lib/json.mjs';
import { parseMediaType, sameMediaType } from '../lib/mediatype.mjs';
import { hex, Reader, Refused, uint, unhex, vector } from '../lib/wire.mjs';

const refused = (reason) => (e) => e instanceof Refused && e.reason === reason;

test('Reader takes what is there and refuses the rest', () => {
  const r = new Reader(unhex('010002aabb'));
  assert.strictEqual(r.uint(1), 1);
  assert.strictEqual(hex(r.vector(2, 1, 2)), 'aabb');
  r.done();
  assert.throws(() => r.uint(1), refused('malformed'));
  assert.throws(() => new Reader(unhex('03aabb')).vector(1, 0, 255), refused('malformed'));
  assert.throws(() => new Reader(unhex('00')).vector(1, 1, 255), refused('malformed'));
  assert.throws(() => new Reader(unhex('00'), 'other').done(), refused('other'));
  assert.strictEqual(hex(vector(3, uint(2, 5))), '0000020005');
  assert.throws(() => unhex('0G'), TypeError);
});

test('DER: object identifiers, times, lengths', () => {
  const id = '1.3.6.1.4.1.311.21.20';
  assert.strictEqual(readOid(new Der(oid(id)).next(tags.oid).content), id);
  assert.strictEqual(hex(integer(unhex('0080'))), '02020080');
  for (const t of [Date.UTC(2026, 0, 2, 3, 4, 5), Date.UTC(2051, 0, 1)]) assert.strictEqual(readTime(new Der(time(t)).next()), t);
  for (const size of [0, 127, 128, 255, 256, 1000]) {
    assert.strictEqual(new Der(seq(Buffer.alloc(size))).enter(tags.seq).left, size);
  }
  for (const bad of ['30', '3001', '308100', '30820001aa', '3080', '1f8100']) {
    assert.throws(() => new Der(unhex(bad)).next(), refused('der'), bad);
  }
});

const strict = { reason: 'bad', deterministic: true };

test('CBOR: examples of RFC 8949, Appendix A', () => {
  const good = [
    '00', '17', '1818', '1903e8', '1a000f4240', '1bffffffffffffffff', '20', '3903e7', '3bffffffffffffffff', 'f4', 'f5', 'f6',
    'f7', 'f0', 'f8ff', 'c074323031332d30332d32315432303a30343a30305a', '40', '4401020304', '60', '62c3bc', '64f0908591', '80',
    '8301820203820405', 'a0', 'a201020304', 'a26161016162820203', 'fb3ff199999999999a',
  ];
  for (const g of good) assert.strictEqual(hex(cbor.encode(cbor.decode(unhex(g), strict))), g);
});

test('CBOR: what is not well-formed or not deterministic', () => {
  const bad = [
    '', '18', '1800', '190001', '1a00000001', '1b0000000000000001', '1c', '1f', '3f', '41', '61ff', '5f41aaff', '81', '9f00ff',
    'bfff',
    'a100', 'a200000000', 'a201000000', 'df00', 'f818', 'fc', 'ff', '0000', '9b7fffffffffffffff', '8181818181818181818181818181818181818100',
  ];
  for (const b of bad) assert.throws(() => cbor.decode(unhex(b), strict), refused('bad'), b);
  const lenient = { reason: 'bad', indefinite: true, strings: true };
  for (const b of ['1800', '9f00ff', 'bf0000ff', '5f41aa41bbff', '7f6161ff', 'a201000000']) cbor.decode(unhex(b), lenient);
  for (const b of ['5f6161ff', '5f5f41aaffff', 'bf00ff', 'a20000180000', '9f', 'a15f41aaff00']) {
    assert.throws(() => cbor.decode(unhex(b), lenient), refused('bad'), b);
  }
});

test('JSON: strict, with members as they stand', () => {
  const read = (text) => {
    const r = new JsonReader(Buffer.from(text));
    const node = r.value();
    assert.strictEqual(r.at, r.text.length);
    return node;
  };
  assert.deepStrictEqual(read('{"a":1,"a":[ ]}').v.map(([k]) => k), ['a', 'a']);
  assert.strictEqual(read('-0.5e+3').v, '-0.5e+3');
  assert.strictEqual(read('"\\u00e9\\ud83d\\ude00\\ud800"').v, '\u00e9\u{1f600}\ufffd');
  for (const bad of ['', '[1,]', '{"a"}', '{a:1}', "'a'", '"\t"', 'nul', '"\\x"', '[1', '{"a":1,}']) {
    assert.throws(() => read(bad), refused('syntax'), bad);
  }
  assert.throws(() => new JsonReader(Buffer.from([0x22, 0xff, 0x22])), refused('syntax'));
  assert.throws(() => read('['.repeat(40)), refused('too-deep'));
});

test('media types', () => {
  const longest = 'a'.repeat(127);
  for (const good of ['a/b', 'a/b+c; x=1', 'a/b ; x="; y" ;z=q', `${longest}/b`]) {
    assert.notStrictEqual(parseMediaType(good), null, good);
  }
  const parameters = ['a/b;', 'a/b; x', 'a/b; x=', 'a/b; x=1; X=2', 'a/b; x*=1', 'a/b; x="\\""'];
  for (const bad of ['', 'a', 'a/', '/b', ' a/b', `a${longest}/b`, ...parameters]) {
    assert.strictEqual(parseMediaType(bad), null, bad);
  }
  assert.ok(sameMediaType('A/B; X="1"; y=2', 'a/b;Y=2;x=1'));
  assert.ok(!sameMediaType('a/b; x=A', 'a/b; x=a'));
  assert.ok(!sameMediaType('a/b; x=1', 'a/b'));
});

test('frames: what is written is read, and limits have two sides', () => {
  const hello = { willRequest: true, canAttest: false, mediaTypes: ['a/b'], models: 3, mux: true, maxAuthenticator: 99 };
  assert.deepStrictEqual(readFrame(writeHello(hello), 99).hello, hello);
  assert.deepStrictEqual(readFrame(writeResult(7), 99).result, { code: 7, lifetime: null });
  assert.deepStrictEqual(readFrame(writeResult(0, 60), 99).result, { code: 0, lifetime: 60 });
  assert.deepStrictEqual(readFrame(writeAlert(13), 99).alert, { code: 13 });
  for (const [type, cap] of [[2, 16384], [3, 99], [6, 16380]]) {
    assert.strictEqual(readFrame(writeFrame(type, Buffer.alloc(cap)), 99).payload.length, cap);
    assert.throws(() => takeFrame(Buffer.concat([uint(1, type), uint(3, cap + 1)]), 99), refused('too-large'));
  }
  const frame = writeHello(hello);
  for (let i = 0; i < frame.length; i++) assert.strictEqual(takeFrame(frame.subarray(0, i), 99), null);
});

test('claims: key provenance is 1, 2 or 4', () => {
  const state = {
    nonce: Buffer.alloc(32, 9), ueid: Buffer.concat([unhex('01'), Buffer.alloc(16)]), oemid: Buffer.alloc(16),
    hwmodel: null, dbgstat: null, software: null, measurements: [], keyHash: Buffer.alloc(32),
  };
  for (const keyProvenance of [1, 2, 4]) {
    assert.strictEqual(readClaims(writeClaims({ ...state, keyProvenance }, 'p'), 'p').keyProvenance, keyProvenance);
  }
  for (const keyProvenance of [0, 3, 5, -1, 2 ** 32]) {
    assert.throws(() => readClaims(writeClaims({ ...state, keyProvenance }, 'p'), 'p'), refused('claims'), `${keyProvenance}`);
  }
});
