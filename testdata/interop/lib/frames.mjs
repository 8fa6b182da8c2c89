// The frames of expat/1 and the maps in them (docs/protocol.md, Sections 1 and 2).

import { bool, decode, encode, int, intMap, map, text, array } from './cbor.mjs';
import { demand, uint, vector } from './wire.mjs';

export const frameTypes = { hello: 1, request: 2, authenticator: 3, result: 4, alert: 5, data: 6 };

export const defaultMaxAuthenticator = 262144;
const header = 4;

export function capOf(type, maxAuthenticator) {
  return { 1: 4096, 2: 16384, 3: maxAuthenticator, 4: 256, 5: 2, 6: 16380 }[type];
}

export function writeFrame(type, payload) {
  return Buffer.concat([uint(1, type), vector(3, payload)]);
}

// takeFrame reads the frame at the front of what has arrived. It gives null as
// long as more has to come; the length is judged before the payload arrives.
export function takeFrame(bytes, maxAuthenticator) {
  if (bytes.length >= 1) demand(capOf(bytes[0], maxAuthenticator) !== undefined, 'unknown-type', `type ${bytes[0]}`);
  if (bytes.length < header) return null;
  const type = bytes[0];
  const length = bytes.readUIntBE(1, 3);
  demand(length <= capOf(type, maxAuthenticator), 'too-large', `${length} bytes in a frame of type ${type}`);
  if (bytes.length < header + length) return null;
  return { type, payload: bytes.subarray(header, header + length), size: header + length };
}

// readFrame reads a whole frame and the map in it.
export function readFrame(bytes, maxAuthenticator) {
  const frame = takeFrame(bytes, maxAuthenticator);
  demand(frame !== null, 'truncated', 'the stream ends inside a frame');
  demand(frame.size === bytes.length, 'malformed', 'more than one frame');
  return readPayload(frame);
}

// readPayload adds what HELLO, RESULT and ALERT say.
export function readPayload({ type, payload }) {
  switch (type) {
    case frameTypes.hello:
      return { type, payload, hello: readHello(payload) };
    case frameTypes.result:
      return { type, payload, result: readResult(payload) };
    case frameTypes.alert:
      demand(payload.length === 2, 'malformed', 'length of ALERT');
      return { type, payload, alert: { code: payload.readUInt16BE(0) } };
    default:
      return { type, payload };
  }
}

// readMap takes keys in any order and integers of any width; senders write the
// deterministic encoding.
function readMap(payload) {
  const node = decode(payload, { reason: 'malformed', depth: 4 });
  demand(node.t === 'map', 'malformed', 'not a map');
  demand(!hasTag(node), 'malformed', 'tag');
  return intMap(node);
}

function hasTag(node) {
  if (node.t === 'tag') return true;
  if (node.t === 'array') return node.v.some(hasTag);
  return node.t === 'map' && node.v.flat().some(hasTag);
}

// fields reads members of a map by type; an absent one is undefined.
function fields(found) {
  const typed = (key, is, value) => {
    const node = found.get(key);
    if (node === undefined) return undefined;
    demand(is(node), 'malformed', `type of ${key}`);
    return value(node);
  };
  return {
    uint: (key) => typed(key, (n) => n.t === 'int' && n.v >= 0n, (n) => Number(n.v)),
    bool: (key) => typed(key, (n) => n.t === 'simple' && typeof n.v === 'boolean', (n) => n.v),
    texts: (key) => typed(key, (n) => n.t === 'array' && n.v.every((e) => e.t === 'text'), (n) => n.v.map((e) => e.v)),
  };
}

function readHello(payload) {
  const f = fields(readMap(payload));
  demand(f.uint(0) === 1, 'malformed', 'version');
  const [willRequest, canAttest, mediaTypes] = [f.bool(1), f.bool(2), f.texts(3)];
  demand(willRequest !== undefined && canAttest !== undefined, 'malformed', 'a member is missing');
  demand(willRequest === (mediaTypes !== undefined), 'malformed', 'media types are there exactly when a request follows');
  if (willRequest) {
    demand(mediaTypes.length >= 1 && mediaTypes.length <= 16, 'malformed', 'number of media types');
    const good = mediaTypes.every((m) => Buffer.byteLength(m) >= 1 && Buffer.byteLength(m) <= 255);
    demand(good, 'malformed', 'length of a media type');
  }
  return {
    willRequest,
    canAttest,
    mediaTypes: mediaTypes ?? [],
    models: f.uint(4) ?? 0,
    mux: f.bool(5) ?? false,
    maxAuthenticator: f.uint(6) ?? defaultMaxAuthenticator,
  };
}

export function writeHello({ willRequest, canAttest, mediaTypes = [], models, mux, maxAuthenticator }) {
  const out = [[int(0), int(1)], [int(1), bool(willRequest)], [int(2), bool(canAttest)]];
  if (willRequest) out.push([int(3), array(...mediaTypes.map(text))]);
  if (models !== undefined) out.push([int(4), int(models)]);
  if (mux !== undefined) out.push([int(5), bool(mux)]);
  if (maxAuthenticator !== undefined) out.push([int(6), int(maxAuthenticator)]);
  return writeFrame(frameTypes.hello, encode(map(...out)));
}

function readResult(payload) {
  const f = fields(readMap(payload));
  const [code, lifetime] = [f.uint(0), f.uint(1)];
  demand(code !== undefined && code <= 0xffff, 'malformed', 'code');
  demand(lifetime !== 0, 'malformed', 'lifetime of 0');
  return { code, lifetime: lifetime ?? null };
}

export function writeResult(code, lifetime) {
  const out = [[int(0), int(code)]];
  if (lifetime !== undefined) out.push([int(1), int(lifetime)]);
  return writeFrame(frameTypes.result, encode(map(...out)));
}

export function writeAlert(code) {
  return writeFrame(frameTypes.alert, uint(2, code));
}
