// Authenticator requests (RFC 9261, Section 4).

import { demand, Reader, vector } from './wire.mjs';
import * as hs from './handshake.mjs';
import { schemes } from './signature.mjs';

const maxRequest = 16384;

// buildRequest makes a request. sender is 'client' or 'server', extensions a list
// of {type, data}.
export function buildRequest(sender, context, extensions) {
  const type = sender === 'client' ? hs.types.clientCertificateRequest : hs.types.certificateRequest;
  return hs.message(type, vector(1, context), hs.writeExtensions(extensions));
}

// usualExtensions are those of a request that asks for attestation.
export function usualExtensions({ sender, serverName, offer = true }) {
  const list = [
    { type: hs.ext.signatureAlgorithms, data: hs.writeSchemes([...schemes.keys()]) },
    { type: hs.ext.signatureAlgorithmsCert, data: hs.writeSchemes([...schemes.keys()]) },
  ];
  if (offer) list.push({ type: hs.ext.cmwAttestation, data: Buffer.alloc(0) });
  if (sender === 'client') list.unshift({ type: hs.ext.serverName, data: hs.writeServerName(serverName) });
  return list;
}

// parseRequest reads a request that receiver got. usedContexts is a list of
// buffers: what the connection has used already, in either direction.
export function parseRequest({ receiver, message, usedContexts }) {
  demand(message.length <= maxRequest, 'limit', `request of ${message.length} bytes`);
  const outer = new Reader(message);
  const { type, body } = hs.readMessage(outer);
  outer.done();
  const incoming = receiver === 'server' ? hs.types.clientCertificateRequest : hs.types.certificateRequest;
  demand(type === incoming, 'unexpected-message', `message type ${type} towards the ${receiver}`);

  const r = new Reader(body);
  const context = r.vector(1, 0, 0xff);
  const extensions = hs.readExtensions(r.inner(2, 2, 0xffff));
  r.done();
  const found = new Map();
  for (const e of extensions) {
    found.set(e.type, hs.requestReaders.get(e.type)?.(e.data));
  }

  demand(!hs.hasDuplicates(extensions), 'illegal-extension', 'type twice');
  for (const e of extensions) {
    const serverName = e.type === hs.ext.serverName && type === hs.types.clientCertificateRequest;
    demand(serverName || !hs.forbiddenInRequest(e.type), 'illegal-extension', `type ${e.type}`);
  }
  demand(found.has(hs.ext.signatureAlgorithms), 'missing-extension', 'no signature_algorithms');
  demand(!usedContexts.some((c) => c.equals(context)), 'context-reuse');
  return {
    type,
    context,
    extensions,
    signatureSchemes: found.get(hs.ext.signatureAlgorithms),
    serverName: found.get(hs.ext.serverName) ?? null,
    whole: message,
  };
}
