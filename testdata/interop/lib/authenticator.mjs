// Authenticators (RFC 9261, Sections 5 and 6): Certificate, CertificateVerify and
// Finished, or a lone Finished that refuses.

import { timingSafeEqual } from 'node:crypto';
import { digest, hashLength, hmac } from './exporter.mjs';
import * as hs from './handshake.mjs';
import { schemes, sign } from './signature.mjs';
import { demand, Reader, Refused, uint, vector } from './wire.mjs';

const maxAuthenticator = 1048576;
const maxCertificates = 10;

// secrets derives the two exporter values of the side that makes an authenticator
// (RFC 9261, Section 5.1). The exporter's context is empty and present.
export function secrets(exporter, hash, sender) {
  const value = (name) => exporter(`EXPORTER-${sender} authenticator ${name}`, Buffer.alloc(0), hashLength(hash));
  return { handshakeContext: value('handshake context'), finishedKey: value('finished key') };
}

export function signedContent(hash, { handshakeContext }, request, certificate) {
  const verifyHash = digest(hash, handshakeContext, request, certificate);
  const content = Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from('Exported Authenticator\0'), verifyHash]);
  return { verifyHash, content };
}

export function finishedData(hash, { handshakeContext, finishedKey }, ...messages) {
  const finishedHash = digest(hash, handshakeContext, ...messages);
  return { finishedHash, verifyData: hmac(hash, finishedKey, finishedHash) };
}

// emptyCertificate is what an empty authenticator hashes in place of a Certificate.
export function emptyCertificate(context) {
  return hs.message(hs.types.certificate, vector(1, context), uint(3, 0));
}

// buildAuthenticator makes an authenticator. request is the request as received,
// zero bytes for none; chain a list of DER, leaf first; extensions go into the
// first entry.
export function buildAuthenticator({ exporter, hash, sender, request, context, chain, extensions, scheme, privateKey }) {
  const keys = secrets(exporter, hash, sender);
  const entries = chain.map((der, i) => Buffer.concat([vector(3, der), hs.writeExtensions(i === 0 ? extensions : [])]));
  const certificate = hs.message(hs.types.certificate, vector(1, context), vector(3, ...entries));
  const { content } = signedContent(hash, keys, request, certificate);
  const verify = hs.message(hs.types.certificateVerify, uint(2, scheme), vector(2, sign(scheme, privateKey, content)));
  const { verifyData } = finishedData(hash, keys, request, certificate, verify);
  return Buffer.concat([certificate, verify, hs.message(hs.types.finished, verifyData)]);
}

export function buildEmpty({ exporter, hash, sender, request, context }) {
  const keys = secrets(exporter, hash, sender);
  const { verifyData } = finishedData(hash, keys, request, emptyCertificate(context));
  return hs.message(hs.types.finished, verifyData);
}

// readAuthenticator takes an authenticator apart and checks what needs no keys. The
// length of Finished is left to the comparison of the MAC.
export function readAuthenticator(bytes, answersRequest) {
  demand(bytes.length <= maxAuthenticator, 'limit', `${bytes.length} bytes`);
  const r = new Reader(bytes);
  const first = hs.readMessage(r);
  if (first.type === hs.types.finished && r.left === 0) {
    demand(answersRequest, 'unexpected-message', 'an empty authenticator answers no request');
    return { empty: true, verifyData: first.body };
  }
  const certificate = expectType(first, hs.types.certificate);
  const verify = expectType(hs.readMessage(r), hs.types.certificateVerify);
  const finished = expectType(hs.readMessage(r), hs.types.finished);
  r.done();
  return {
    empty: false,
    certificate,
    verify,
    ...readCertificate(certificate.body),
    ...readVerify(verify.body),
    verifyData: finished.body,
  };
}

function expectType(message, type) {
  demand(message.type === type, 'unexpected-message', `type ${message.type}, not ${type}`);
  return message;
}

function readCertificate(body) {
  const r = new Reader(body);
  const context = r.vector(1, 0, 0xff);
  const list = r.inner(3, 0, 0xffffff);
  r.done();
  demand(list.left > 0, 'malformed', 'no certificate');
  const entries = [];
  while (list.left > 0) {
    const der = list.vector(3, 1, 0xffffff);
    const extensions = hs.readExtensions(list.inner(2, 0, 0xffff));
    for (const e of extensions) hs.certificateReaders.get(e.type)?.(e.data);
    entries.push({ der, extensions });
  }
  demand(entries.length <= maxCertificates, 'limit', `${entries.length} certificates`);
  return { context, entries };
}

function readVerify(body) {
  const r = new Reader(body);
  const scheme = r.uint(2);
  const signature = r.vector(2, 0, 0xffff);
  r.done();
  return { scheme, signature };
}

export function equalSecret(a, b) {
  return a.length === b.length && timingSafeEqual(a, b);
}

// refuseEmpty ends the validation of an empty authenticator: it is invalid also
// when it is right (RFC 9261, Section 7.4). What it proved goes with the refusal.
export function refuseEmpty({ verifyData }, hash, keys, request) {
  const right = finishedData(hash, keys, request.whole, emptyCertificate(request.context));
  demand(equalSecret(right.verifyData, verifyData), 'finished', 'of an empty authenticator');
  const refusal = new Refused('refused', 'the peer has no authenticator for this request');
  throw Object.assign(refusal, { proof: { ...keys, ...right } });
}

// schemeFits says whether the scheme is one of TLS 1.3, was offered, and is for a
// key of that kind.
export function schemeFits(scheme, offered, kind) {
  return schemes.has(scheme) && offered.includes(scheme) && schemes.get(scheme).kind === kind;
}
