// Exporters, against values of RFC 8448, Section 3 and what follows from them.

import assert from 'node:assert';
import test from 'node:test';
import { buildEmpty } from '../lib/authenticator.mjs';
import { exporter12, exporter13, masterSecret13 } from '../lib/exporter.mjs';
import { buildRequest } from '../lib/request.mjs';
import { hex, unhex } from '../lib/wire.mjs';

const secret = unhex('fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50');
const counting = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const none = Buffer.alloc(0);

test('exporter_master_secret is that of RFC 8448, Section 3', () => {
  const master = unhex('18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919');
  const transcript = unhex('9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13');
  assert.strictEqual(hex(masterSecret13('sha256', master, transcript)), hex(secret));
});

const anchored = [
  ['EXPORTER-client authenticator handshake context', none, '3ce40ddfb5a8566480bb683fa63f43f1d6d52ab962854a98a3c080d81ed5631f'],
  ['EXPORTER-server authenticator handshake context', none, 'b5920228102885ce3bbc879252d7c4ae80f47616cdc91456338427e7890941b0'],
  ['EXPORTER-client authenticator finished key', none, '34db53a0d817c518dc905f36e253a11271904ea43778358aaeb85d377a4fe0fb'],
  ['EXPORTER-server authenticator finished key', none, 'd7571ccc1577b04277765da1c875d933be15717b3ecf45d0708431fa077df54d'],
  ['EXPORTER-cmw-attestation', counting, 'd1bdbe5bff7774441c4178731ebab0ed02e8512fe9e3e047d58a9b4d6f22ffe8'],
  ['Attestation', counting, 'de6655915cadff0d4fe781e255b3cc28cf8cc5c647de58a1e38a59e40bc4ee39'],
  ['Attestation Binding', counting, '6e8ad2ee1b8518ca980c01fa45a763ba5232af047a70ef3bceea8786cc74eedb'],
  [
    'Attestation Binding', counting,
    '129a0a5242df0927d1c3cf894293f7c9b692c4fca054d90b5ab801999e76a9652b32d2b4356faad61e698eed41fd68a2015cf41cfc8a13fdb73a5bdcca63920e',
  ],
  ['EXPORTER-Channel-Binding', none, 'e3b0946bf2f4668144f22872e0afd51dc9608638c6f9b2584b98c6cd3a4affad'],
];

for (const [label, context, value] of anchored) {
  test(`TLS-Exporter(${label}, ${context.length} bytes, ${value.length / 2})`, () => {
    assert.strictEqual(hex(exporter13('sha256', secret, label, context, value.length / 2)), value);
  });
}

test('an absent context is an empty one in TLS 1.3, and is not in TLS 1.2 [A-9]', () => {
  const of13 = (context) => hex(exporter13('sha256', secret, 'label', context, 32));
  assert.strictEqual(of13(null), of13(none));
  const of12 = (context) => hex(exporter12('sha256', Buffer.alloc(48), counting, counting, 'label', context, 32));
  assert.notStrictEqual(of12(null), of12(none));
});

test('an empty authenticator covers the request with its header [A-33]', () => {
  const digits = Buffer.from('12345678901234567890123456789012');
  const context = Buffer.from('0123456789abcdefghij');
  const algorithms = [{ type: 13, data: unhex('00020403') }];
  const empty = (sender) => {
    const asker = sender === 'client' ? 'server' : 'client';
    return hex(buildEmpty({ exporter: () => digits, hash: 'sha256', sender, request: buildRequest(asker, context, algorithms), context }));
  };
  assert.strictEqual(empty('client'), '14000020c6558d626bf2fa60477e003306525df98b168784616d0b757aaf4b87823fc886');
  assert.strictEqual(empty('server'), '14000020b457074e01e28a3c33217f20d2f63aef25ce15afcfc589877c4373fea6a843c3');
});
