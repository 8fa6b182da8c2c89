// The claims of simulated Evidence (docs/evidence/simulated.md, Format).

import { array, bytes, decode, encode, int, intMap, map, text } from './cbor.mjs';
import { demand } from './wire.mjs';

export const claim = {
  nonce: 10, ueid: 256, oemid: 258, hwmodel: 259, dbgstat: 263, profile: 265,
  swname: 270, swversion: 271, measurements: 273, keyHash: -75001, keyProvenance: -75002,
};

// The values of the claim keyProvenance. 3 is not assigned.
export const provenances = { 1: 'born-inside', 2: 'external', 4: 'named-by-software' };

const ueidLengths = { 1: [17, 25, 33], 2: [7, 9], 3: [15] };

// Digest lengths by the number of the IANA registry "Named Information Hash
// Algorithm".
const algorithms = new Map([
  [1, ['sha-256', 32]],
  [7, ['sha-384', 48]],
  [8, ['sha-512', 64]],
  [10, ['sha3-256', 32]],
  [11, ['sha3-384', 48]],
  [12, ['sha3-512', 64]],
]);

const strict = { reason: 'claims', deterministic: true, depth: 8 };

function must(condition, text) {
  demand(condition, 'claims', text);
}

const isBytes = (n, min, max) => n?.t === 'bytes' && n.v.length >= min && n.v.length <= max;
const isName = (n) => n?.t === 'text' && Buffer.byteLength(n.v) >= 1 && Buffer.byteLength(n.v) <= 256;
const isUint = (n, min, max) => n?.t === 'int' && n.v >= BigInt(min) && n.v <= BigInt(max);

// readClaims reads the payload of a token.
export function readClaims(payload, profile) {
  const node = decode(payload, strict);
  must(node.t === 'map');
  const c = intMap(node, 'claims');
  const known = Object.values(claim);
  must([...c.keys()].every((k) => known.includes(k)), 'a claim that is not of the profile');

  const get = (name) => c.get(claim[name]);
  must(isBytes(get('nonce'), 8, 64), 'eat_nonce');
  must(isBytes(get('ueid'), 1, 33) && ueidLengths[get('ueid').v[0]]?.includes(get('ueid').v.length), 'ueid');
  must(isBytes(get('oemid'), 16, 16), 'oemid');
  must(get('hwmodel') === undefined || isBytes(get('hwmodel'), 1, 32), 'hwmodel');
  must(get('dbgstat') === undefined || isUint(get('dbgstat'), 0, 4), 'dbgstat');
  must(get('profile')?.t === 'text' && get('profile').v === profile, 'eat_profile');
  must(isBytes(get('keyHash'), 32, 32) || isBytes(get('keyHash'), 48, 48), 'key hash');
  must(isUint(get('keyProvenance'), 1, 4) && Number(get('keyProvenance').v) in provenances, 'key provenance');
  return {
    nonce: get('nonce').v,
    ueid: get('ueid').v,
    oemid: get('oemid').v,
    hwmodel: get('hwmodel')?.v ?? null,
    dbgstat: get('dbgstat') === undefined ? null : Number(get('dbgstat').v),
    software: readSoftware(get('swname'), get('swversion')),
    measurements: readMeasurements(get('measurements')),
    keyHash: get('keyHash').v,
    keyProvenance: Number(get('keyProvenance').v),
  };
}

function readSoftware(name, version) {
  if (name === undefined) {
    must(version === undefined, 'swversion without swname');
    return null;
  }
  must(isName(name), 'swname');
  if (version === undefined) return { name: name.v, version: null };
  must(version.t === 'array' && version.v.length === 1 && isName(version.v[0]), 'swversion');
  return { name: name.v, version: version.v[0].v };
}

function readMeasurements(node) {
  if (node === undefined) return [];
  must(node.t === 'array' && node.v.length >= 1 && node.v.length <= 64, 'measurements');
  const out = node.v.map(readMeasurement);
  must(new Set(out.map((m) => m.name)).size === out.length, 'two measurements of one name');
  return out;
}

function readMeasurement(node) {
  must(node.t === 'array' && node.v.length === 2, 'measurement');
  const [format, wrapped] = node.v;
  must(isUint(format, 295, 295) && wrapped.t === 'bytes', 'measurement');
  const inner = decode(wrapped.v, strict);
  must(inner.t === 'map' && inner.v.length === 2, 'measured component');
  const component = intMap(inner, 'claims');
  const [id, digest] = [component.get(1), component.get(2)];
  must(id?.t === 'array' && [1, 2].includes(id.v.length) && isName(id.v[0]), 'name');
  const version = id.v[1];
  must(version === undefined || (version.t === 'array' && version.v.length === 1 && isName(version.v[0])), 'version');
  must(digest?.t === 'array' && digest.v.length === 2 && digest.v[0].t === 'int', 'digest');
  const algorithm = algorithms.get(Number(digest.v[0].v));
  must(algorithm !== undefined && isBytes(digest.v[1], algorithm[1], algorithm[1]), 'digest');
  return { name: id.v[0].v, version: version?.v[0].v ?? null, algorithm: algorithm[0], digest: digest.v[1].v };
}

function writeMeasurement({ name, version, algorithm, digest }) {
  const number = [...algorithms].find(([, [n]]) => n === algorithm)[0];
  const id = version === null ? array(text(name)) : array(text(name), array(text(version)));
  return array(int(295), bytes(encode(map([int(1), id], [int(2), array(int(number), bytes(digest))]))));
}

// writeClaims is the payload that readClaims reads.
export function writeClaims(c, profile) {
  const out = [
    [int(claim.nonce), bytes(c.nonce)],
    [int(claim.ueid), bytes(c.ueid)],
    [int(claim.oemid), bytes(c.oemid)],
    [int(claim.profile), text(profile)],
    [int(claim.keyHash), bytes(c.keyHash)],
    [int(claim.keyProvenance), int(c.keyProvenance)],
  ];
  if (c.hwmodel !== null) out.push([int(claim.hwmodel), bytes(c.hwmodel)]);
  if (c.dbgstat !== null) out.push([int(claim.dbgstat), int(c.dbgstat)]);
  if (c.software !== null) {
    out.push([int(claim.swname), text(c.software.name)]);
    if (c.software.version !== null) out.push([int(claim.swversion), array(text(c.software.version))]);
  }
  if (c.measurements.length > 0) out.push([int(claim.measurements), array(...c.measurements.map(writeMeasurement))]);
  return encode(map(...out));
}
