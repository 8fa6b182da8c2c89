// Keying material exporters: TLS 1.3 (RFC 8446, Section 7.5) and TLS 1.2 (RFC 5705).

import { createHash, createHmac } from 'node:crypto';
import { uint, vector } from './wire.mjs';

export function digest(hash, ...parts) {
  const h = createHash(hash);
  for (const p of parts) h.update(p);
  return h.digest();
}

export function hmac(hash, key, ...parts) {
  const h = createHmac(hash, key);
  for (const p of parts) h.update(p);
  return h.digest();
}

export function hashLength(hash) {
  return { sha256: 32, sha384: 48 }[hash];
}

// expand is HKDF-Expand (RFC 5869, Section 2.3).
function expand(hash, secret, info, length) {
  const out = [];
  let block = Buffer.alloc(0);
  for (let i = 1, have = 0; have < length; i++, have += block.length) {
    block = hmac(hash, secret, block, info, uint(1, i));
    out.push(block);
  }
  return Buffer.concat(out).subarray(0, length);
}

function expandLabel(hash, secret, label, context, length) {
  const info = Buffer.concat([uint(2, length), vector(1, Buffer.from('tls13 ' + label)), vector(1, context)]);
  return expand(hash, secret, info, length);
}

// exporter13 is TLS-Exporter. A context that is null is the same as an empty one.
export function exporter13(hash, exporterMasterSecret, label, context, length) {
  const derived = expandLabel(hash, exporterMasterSecret, label, digest(hash), hashLength(hash));
  return expandLabel(hash, derived, 'exporter', digest(hash, context ?? ''), length);
}

// exporter12 is the exporter of RFC 5705, Section 4. A context that is null is
// absent, which is another value than an empty one.
export function exporter12(hash, masterSecret, clientRandom, serverRandom, label, context, length) {
  const seed = [Buffer.from(label), clientRandom, serverRandom];
  if (context !== null) seed.push(vector(2, context));
  return pHash(hash, masterSecret, Buffer.concat(seed), length);
}

// pHash is P_hash of RFC 5246, Section 5.
function pHash(hash, secret, seed, length) {
  const out = [];
  let a = seed;
  for (let have = 0; have < length; have += out[0].length) {
    a = hmac(hash, secret, a);
    out.push(hmac(hash, secret, a, seed));
  }
  return Buffer.concat(out).subarray(0, length);
}

// masterSecret13 gives the exporter_master_secret of a TLS 1.3 connection: the
// transcript hash is that of ClientHello to the server's Finished.
export function masterSecret13(hash, masterSecret, transcriptHash) {
  return expandLabel(hash, masterSecret, 'exp master', transcriptHash, hashLength(hash));
}
