// Handshake messages (RFC 8446, Section 4) and their extensions, outside the TLS
// handshake.

import { Der, readOid, tags } from './der.mjs';
import { demand, Reader, Refused, uint, vector } from './wire.mjs';

export const types = { certificateRequest: 13, clientCertificateRequest: 17, certificate: 11, certificateVerify: 15, finished: 20 };

export const ext = {
  serverName: 0,
  statusRequest: 5,
  signatureAlgorithms: 13,
  signedCertificateTimestamp: 18,
  certificateAuthorities: 47,
  oidFilters: 48,
  signatureAlgorithmsCert: 50,
  cmwAttestation: 0xff00,
};

// message frames a body: type, length of three bytes, body.
export function message(type, ...body) {
  return Buffer.concat([uint(1, type), vector(3, ...body)]);
}

// readMessage takes one message off the reader.
export function readMessage(r) {
  const start = r.at;
  const type = r.uint(1);
  const body = r.vector(3, 0, 0xffffff);
  return { type, body, whole: r.bytes.subarray(start, r.at) };
}

export function readExtensions(r) {
  const out = [];
  while (r.left > 0) out.push({ type: r.uint(2), data: r.vector(2, 0, 0xffff) });
  return out;
}

export function writeExtensions(list) {
  return vector(2, ...list.map((e) => Buffer.concat([uint(2, e.type), vector(2, e.data)])));
}

export function hasDuplicates(extensions) {
  return new Set(extensions.map((e) => e.type)).size !== extensions.length;
}

// readSchemes reads the SignatureSchemeList of signature_algorithms.
export function readSchemes(data) {
  const list = readAll(data, (r) => r.inner(2, 2, 0xfffe));
  const out = [];
  while (list.left > 0) out.push(list.uint(2));
  return out;
}

export function writeSchemes(list) {
  return vector(2, ...list.map((s) => uint(2, s)));
}

// readServerName reads a ServerNameList with one host_name (RFC 6066, Section 3).
export function readServerName(data) {
  const list = readAll(data, (r) => r.inner(2, 1, 0xffff));
  demand(list.uint(1) === 0, 'malformed', 'a name that is no host_name');
  const name = list.vector(2, 1, 0xffff);
  list.done();
  demand(name.every((b) => b > 0x20 && b < 0x7f), 'malformed', 'host_name is not ASCII');
  return name.toString('latin1');
}

export function writeServerName(name) {
  return vector(2, uint(1, 0), vector(2, Buffer.from(name, 'latin1')));
}

function readAll(data, read) {
  const r = new Reader(data);
  const out = read(r);
  r.done();
  return out;
}

function readAuthorities(data) {
  const list = readAll(data, (r) => r.inner(2, 3, 0xffff));
  while (list.left > 0) list.vector(2, 1, 0xffff);
}

function readFilters(data) {
  const list = readAll(data, (r) => r.inner(2, 0, 0xffff));
  const seen = new Set();
  while (list.left > 0) {
    const der = list.vector(1, 1, 0xff);
    demand(isOid(der), 'malformed', 'an OID that is none');
    const oid = der.toString('hex');
    list.vector(2, 0, 0xffff);
    demand(!seen.has(oid), 'malformed', 'OID twice');
    seen.add(oid);
  }
}

function isOid(der) {
  try {
    const d = new Der(der);
    readOid(d.next(tags.oid).content);
    return d.left === 0;
  } catch (e) {
    if (e instanceof Refused) return false;
    throw e;
  }
}

const readEmpty = (data) => demand(data.length === 0, 'malformed', 'extension is not empty');

// The structures of extension_data in a CertificateRequest, for the types that
// the vectors name.
export const requestReaders = new Map([
  [ext.serverName, readServerName],
  [ext.statusRequest, readEmpty],
  [ext.signatureAlgorithms, readSchemes],
  [ext.signedCertificateTimestamp, readEmpty],
  [ext.certificateAuthorities, readAuthorities],
  [ext.oidFilters, readFilters],
  [ext.signatureAlgorithmsCert, readSchemes],
]);

// CertificateStatus (RFC 6066, Section 8): an OCSP response.
function readStatus(data) {
  const r = new Reader(data);
  demand(r.uint(1) === 1, 'malformed', 'CertificateStatus of another type');
  r.vector(3, 1, 0xffffff);
  r.done();
}

// SignedCertificateTimestampList (RFC 6962, Section 3.3).
function readTimestamps(data) {
  const list = readAll(data, (r) => r.inner(2, 3, 0xffff));
  while (list.left > 0) list.vector(2, 1, 0xffff);
}

// The same for a CertificateEntry.
export const certificateReaders = new Map([
  [ext.statusRequest, readStatus],
  [ext.signedCertificateTimestamp, readTimestamps],
]);

// forbiddenInRequest says whether a type is assigned in the IANA registry "TLS
// ExtensionType Values" without CR in its column "TLS 1.3". Types that nobody
// assigned are unknown, and unknown ones are ignored (RFC 9261, Section 5.2.1).
export function forbiddenInRequest(type) {
  const allowed = [5, 13, 18, 27, 34, 47, 48, 50, 52, 62];
  const unassigned = [40, 46];
  const assigned = (type <= 61 && !unassigned.includes(type)) || [64768, 65037, 65281].includes(type);
  return assigned && !allowed.includes(type);
}
