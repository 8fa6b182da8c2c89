// The groups exporter, request, authenticator and binding (README of the vectors,
// Sections 5.1 to 5.4).

import { buildAuthenticator } from '../lib/authenticator.mjs';
import { bind } from '../lib/binding.mjs';
import { parseCertificate } from '../lib/certificate.mjs';
import { buildRequest, parseRequest } from '../lib/request.mjs';
import { validate } from '../lib/validate.mjs';
import { demand, hex } from '../lib/wire.mjs';
import { exporterOf } from './keys.mjs';
import { bytes, connection, integer, list, nullable, object, oneOf, text, time } from './shape.mjs';

const side = oneOf('client', 'server');
const hexExtensions = (all) => all.map((e) => ({ type: e.type, data: hex(e.data) }));

function same(a, b, what) {
  if (!a.equals(b)) throw new Error(`${what} built here differs: ${hex(a)}`);
}

export const exporter = {
  reasons: [],
  input: object({ connection, label: text, context: nullable(bytes), length: integer }),
  run: (i) => ({ exported: hex(exporterOf(i.connection)(i.label, i.context, i.length)) }),
};

export const request = {
  reasons: ['limit', 'malformed', 'unexpected-message', 'illegal-extension', 'missing-extension', 'context-reuse'],
  input: object({ receiver: side, message: bytes, used_contexts: list(bytes) }),
  run(i) {
    const r = parseRequest({ receiver: i.receiver, message: i.message, usedContexts: i.used_contexts });
    const sender = i.receiver === 'client' ? 'server' : 'client';
    same(buildRequest(sender, r.context, r.extensions), i.message, 'request');
    return {
      type: r.type,
      context: hex(r.context),
      extensions: hexExtensions(r.extensions),
      signature_schemes: r.signatureSchemes,
      server_name: r.serverName,
    };
  },
};

const ed25519 = 0x0807;

export const authenticator = {
  reasons: [
    'unsolicited', 'limit', 'malformed', 'unexpected-message', 'illegal-extension', 'refused', 'context-mismatch',
    'context-reuse', 'unsupported-extension', 'certificate', 'scheme', 'signature', 'finished', 'chain',
  ],
  input: object({
    connection,
    sender: side,
    request: nullable(bytes),
    client_hello: nullable(object({ signature_schemes: list(integer), extensions: list(integer) })),
    used_contexts: list(bytes),
    authenticator: bytes,
    roots: list(text),
    server_name: nullable(text),
    time,
  }),
  run(i, keys) {
    const c = { exporter: exporterOf(i.connection), hash: i.connection.hash, sender: i.sender };
    const proof = validate({
      ...c,
      request: i.request,
      clientHello: i.client_hello && { signatureSchemes: i.client_hello.signature_schemes, extensions: i.client_hello.extensions },
      usedContexts: i.used_contexts,
      authenticator: i.authenticator,
      roots: i.roots.map(keys.root),
      serverName: i.server_name,
      time: i.time,
    });
    const identity = keys.identities.find((k) => k.certificates[0].equals(proof.leaf.der));
    if (proof.scheme === ed25519) rebuild(i, c, proof, identity);
    return {
      identity: identity.name,
      context: hex(proof.context),
      scheme: proof.scheme,
      certificates: proof.entries.map((e) => hex(e.der)),
      leaf_extensions: hexExtensions(proof.entries[0].extensions),
      certificate_verify_hash: hex(proof.verifyHash),
      ...finished(proof),
    };
  },
  refusal: (e) => (e.proof === undefined ? undefined : finished(e.proof)),
};

function finished(proof) {
  return {
    handshake_context: hex(proof.handshakeContext),
    finished_key: hex(proof.finishedKey),
    finished_hash: hex(proof.finishedHash),
    verify_data: hex(proof.verifyData),
  };
}

// rebuild makes the same authenticator: Ed25519 is deterministic.
function rebuild(i, c, proof, identity) {
  const built = buildAuthenticator({
    ...c,
    request: i.request ?? Buffer.alloc(0),
    context: proof.context,
    chain: proof.entries.map((e) => e.der),
    extensions: proof.entries[0].extensions,
    scheme: ed25519,
    privateKey: identity.privateKey,
  });
  same(built, i.authenticator, 'authenticator');
}

const carried = object({ binder: nullable(bytes), key_hash: nullable(bytes), report_data: nullable(bytes) });

export const binding = {
  reasons: ['short-context', 'binder', 'key-hash', 'report-data'],
  input: object({ connection, profile: oneOf('expat-04', 'expat-03'), context: bytes, certificate: bytes, evidence: carried }),
  run(i) {
    const { spki } = parseCertificate(i.certificate, 'certificate');
    const b = bind({ exporter: exporterOf(i.connection), hash: i.connection.hash, profile: i.profile, context: i.context, spki });
    const agrees = (theirs, ours) => theirs === null || theirs.equals(ours);
    demand(agrees(i.evidence.binder, b.binder), 'binder');
    demand(agrees(i.evidence.key_hash, b.keyHash), 'key-hash');
    demand(agrees(i.evidence.report_data, b.reportData), 'report-data');
    return {
      label: b.label,
      exported_value: hex(b.exportedValue),
      spki: hex(spki),
      binder: hex(b.binder),
      key_hash: hex(b.keyHash),
      report_data: hex(b.reportData),
    };
  },
};
