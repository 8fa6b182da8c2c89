// Evidence of the simulated environment (docs/evidence/simulated.md): an EAT
// (RFC 9711) in COSE_Sign1 (RFC 9052).

import { verify as cryptoVerify } from 'node:crypto';
import { decode, encode, intMap } from './cbor.mjs';
import * as cbor from './cbor.mjs';
import { parseCertificate, subjectAttributes } from './certificate.mjs';
import { digest } from './exporter.mjs';
import { sameMediaType } from './mediatype.mjs';
import { buildPath } from './path.mjs';
import { readClaims } from './claims.mjs';
import { demand, hex } from './wire.mjs';

export const profile = 'https://github.com/expat-go/expat/profiles/simulated';
export const mediaType = `application/eat+cwt; eat_profile="${profile}"`;

const maxToken = 16384;
const maxCertificate = 4096;
const serialNumber = '2.5.4.5';

// signatureInput is the Sig_structure of RFC 9052, Section 4.4.
export function signatureInput(protectedHeader, payload) {
  return encode(cbor.array(cbor.text('Signature1'), cbor.bytes(protectedHeader), cbor.bytes(Buffer.alloc(0)), cbor.bytes(payload)));
}

// verifyEvidence checks a token and gives its claims and signer. What the claims
// mean for a relying party is not judged here. roots are parsed certificates.
export function verifyEvidence({ mediaType: type, evidence, roots, time }) {
  demand(sameMediaType(type, mediaType), 'media-type');
  demand(evidence.length >= 1 && evidence.length <= maxToken, 'size', `${evidence.length} bytes`);
  const { protectedHeader, payload, signature } = readEnvelope(evidence);
  const chain = readHeader(protectedHeader);
  demand(signature.length === 64, 'signature-size');
  const claims = readClaims(payload, profile);

  const path = checkDevice(chain, claims.ueid, roots, time);
  const input = signatureInput(protectedHeader, payload);
  const key = { key: chain[0].publicKey, dsaEncoding: 'ieee-p1363' };
  demand(cryptoVerify('sha256', input, key, signature), 'signature');
  const root = path[path.length - 1];
  demand(claims.oemid.equals(digest('sha256', root.spki).subarray(0, 16)), 'oemid');
  const signer = {
    serial: chain[0].serial,
    keyId: digest('sha256', chain[0].spki),
    notAfter: Math.min(...path.map((c) => c.notAfter)),
  };
  return { claims, signer };
}

const strict = (reason) => ({ reason, deterministic: true, depth: 8 });

function readEnvelope(token) {
  const node = decode(token, strict('envelope'));
  const elements = node.t === 'tag' && node.n === 18n && node.v.t === 'array' ? node.v.v : [];
  demand(elements.length === 4, 'envelope', 'not a tagged array of four');
  const [header, unprotected, payload, signature] = elements;
  demand(unprotected.t === 'map' && unprotected.v.length === 0, 'envelope', 'unprotected header');
  demand([header, payload, signature].every((n) => n.t === 'bytes'), 'envelope', 'no byte strings');
  return { protectedHeader: header.v, payload: payload.v, signature: signature.v };
}

function readHeader(bytes) {
  const node = decode(bytes, strict('header'));
  demand(node.t === 'map', 'header');
  const header = intMap(node, 'header');
  demand(header.size === 2 && header.has(1) && header.has(33), 'header', 'other parameters than 1 and 33');
  demand(header.get(1).t === 'int' && header.get(1).v === -7n, 'header', 'algorithm');
  const list = header.get(33);
  demand(list.t === 'array' && list.v.every((n) => n.t === 'bytes'), 'header', 'x5chain');
  demand(list.v.length >= 2 && list.v.length <= 4, 'x5chain', `${list.v.length} certificates`);
  demand(list.v.every((n) => n.v.length <= maxCertificate), 'x5chain', 'certificate too large');
  return list.v.map((n) => parseCertificate(n.v, 'x5chain'));
}

function checkDevice(chain, ueid, roots, time) {
  const [device, ...others] = chain;
  const details = device.publicKey.asymmetricKeyDetails ?? {};
  demand(details.namedCurve === 'prime256v1', 'chain', 'key of the device');
  demand(!device.basicConstraints?.ca, 'chain', 'the device is a CA');
  demand(device.keyUsage?.digitalSignature === true, 'chain', 'key usage of the device');
  const serials = subjectAttributes(device.subject).filter(([type]) => type === serialNumber);
  demand(serials.length === 1 && serials[0][1] === hex(ueid), 'chain', 'the certificate names another device');
  const path = buildPath({ leaf: device, others, roots, time, purpose: null });
  demand(path !== null, 'chain', 'no valid path to a root');
  return path;
}

// judgeBinding compares the Evidence with what this connection, request and key
// make it have to be.
export function judgeBinding({ claims }, binding) {
  demand(claims.nonce.equals(binding.binder), 'binder');
  demand(claims.keyHash.equals(binding.keyHash), 'key-hash');
}
