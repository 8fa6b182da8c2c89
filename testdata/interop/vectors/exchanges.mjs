// The groups frames and transcript (README of the vectors, Sections 5.8 and 5.9).

import { Exchange } from '../lib/exchange.mjs';
import { frameTypes, readFrame, readPayload, takeFrame } from '../lib/frames.mjs';
import { hex, Refused } from '../lib/wire.mjs';
import { exporterOf } from './keys.mjs';
import { bytes, connection, integer, list, nullable, object, oneOf, text, time } from './shape.mjs';

export const frames = {
  reasons: ['truncated', 'unknown-type', 'too-large', 'malformed'],
  input: object({ frame: bytes, max_authenticator: integer }),
  run(i) {
    const f = readFrame(i.frame, i.max_authenticator);
    const out = { type: f.type, payload: hex(f.payload) };
    if (f.result !== undefined) out.result = f.result;
    if (f.alert !== undefined) out.alert = f.alert;
    if (f.hello !== undefined) out.hello = describeHello(f.hello);
    return out;
  },
};

function describeHello(h) {
  return {
    will_request: h.willRequest,
    can_attest: h.canAttest,
    media_types: h.mediaTypes,
    models: h.models,
    mux: h.mux,
    max_authenticator: h.maxAuthenticator,
  };
}

const side = oneOf('client', 'server');

export const transcript = {
  reasons: [
    'truncated', 'unknown-type', 'too-large', 'malformed', 'order', 'nobody-asks', 'cannot-attest', 'request',
    'context-reuse', 'refused', 'authenticator', 'reflected', 'attestation', 'evidence', 'binding', 'rejected',
    'accepted-refusal', 'alert', 'alert-zero', 'incomplete',
  ],
  input: object({
    connection,
    profile: oneOf('expat-04'),
    observer: side,
    identity: nullable(text),
    max_authenticator: integer,
    x509_roots: list(text),
    server_name: nullable(text),
    evidence_roots: list(text),
    time,
    frames: list(object({ from: side, frame: bytes })),
  }),
  run(i, keys) {
    const x = new Exchange({
      self: i.observer,
      exporter: exporterOf(i.connection),
      hash: i.connection.hash,
      profile: i.profile,
      hello: ownHello(i),
      ownSpki: i.identity === null ? null : keys.identity(i.identity).leaf.spki,
      maxAuthenticator: i.max_authenticator,
      roots: i.x509_roots.map(keys.root),
      serverName: i.server_name,
      evidenceRoots: i.evidence_roots.map(keys.root),
      time: i.time,
    });
    return replay(x, i);
  },
  refusal: (e) => ({ at: e.at }),
};

// ownHello is what the observer says: it knows that before it sends it.
function ownHello(i) {
  const own = i.frames.filter((f) => f.from === i.observer && f.frame[0] === frameTypes.hello);
  if (own.length === 0) return { willRequest: true, canAttest: false, mediaTypes: [] };
  return readPayload(takeFrame(own[0].frame, i.max_authenticator)).hello;
}

function replay(x, i) {
  let opensAfter = null;
  i.frames.forEach(({ from, frame }, at) => {
    try {
      if (from === i.observer) x.sent(frame);
      else x.received(frame);
    } catch (e) {
      throw e instanceof Refused ? Object.assign(e, { at }) : e;
    }
    if (opensAfter === null && x.isOpen) opensAfter = at;
  });
  if (opensAfter === null) throw Object.assign(new Refused('incomplete'), { at: i.frames.length });
  const peer = x.peer.authenticator;
  return {
    opens_after: opensAfter,
    lifetime: x.lifetime,
    peer: peer && {
      context: hex(peer.context),
      binder: hex(peer.binding.binder),
      key_hash: hex(peer.binding.keyHash),
      spki: hex(peer.spki),
    },
  };
}
