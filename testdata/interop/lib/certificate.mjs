// X.509 certificates (RFC 5280): the parts that Node's X509Certificate does not
// show, and the making of certificates, which Node lacks.

import { X509Certificate, randomBytes, sign as cryptoSign } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { Der, element, integer, oid, readOid, readTime, seq, tags, time } from './der.mjs';
import { demand, hex, refuse, Refused } from './wire.mjs';

const extensionNames = {
  '2.5.29.15': 'keyUsage',
  '2.5.29.17': 'subjectAltName',
  '2.5.29.19': 'basicConstraints',
  '2.5.29.37': 'extendedKeyUsage',
};

// parseCertificate reads exactly one certificate in DER. Whatever is wrong with
// it is a refusal with the reason given.
export function parseCertificate(der, reason) {
  try {
    const c = parse(der);
    c.x509 = new X509Certificate(der);
    c.publicKey = c.x509.publicKey;
    return c;
  } catch (e) {
    if (e instanceof Refused || e.code !== undefined) refuse(reason, e.message);
    throw e;
  }
}

function parse(der) {
  const outer = new Der(der);
  const certificate = outer.enter(tags.seq);
  outer.done();
  const tbs = certificate.enter(tags.seq);
  certificate.next(tags.seq);
  certificate.next(tags.bits);
  certificate.done();

  tbs.optional(0xa0);
  const serial = tbs.next(tags.int).content;
  tbs.next(tags.seq);
  const issuer = tbs.next(tags.seq).whole;
  const validity = tbs.enter(tags.seq);
  const notBefore = readTime(validity.next());
  const notAfter = readTime(validity.next());
  validity.done();
  const subject = tbs.next(tags.seq).whole;
  const spki = tbs.next(tags.seq).whole;
  tbs.optional(0x81);
  tbs.optional(0x82);
  const extensions = tbs.peek() === 0xa3 ? parseExtensions(tbs.enter(0xa3)) : { critical: [] };
  tbs.done();
  return { der, serial: hex(serial).replace(/^(00)+(?=.)/, ''), issuer, subject, spki, notBefore, notAfter, ...extensions };
}

function parseExtensions(wrapper) {
  const list = wrapper.enter(tags.seq);
  wrapper.done();
  const found = { critical: [] };
  const seen = new Set();
  while (list.left > 0) {
    const e = list.enter(tags.seq);
    const id = readOid(e.next(tags.oid).content);
    const critical = e.optional(tags.bool)?.content[0] === 0xff;
    const value = e.next(tags.octets).content;
    e.done();
    demand(!seen.has(id), 'der', 'extension twice');
    seen.add(id);
    const name = extensionNames[id];
    if (name !== undefined) found[name] = readers[name](new Der(value));
    else if (critical) found.critical.push(id);
  }
  return found;
}

const readers = {
  keyUsage(d) {
    const bits = d.next(tags.bits).content;
    return { digitalSignature: (bits[1] & 0x80) !== 0, keyCertSign: (bits[1] & 0x04) !== 0 };
  },
  basicConstraints(d) {
    const s = d.enter(tags.seq);
    const ca = s.optional(tags.bool)?.content[0] === 0xff;
    const path = s.optional(tags.int);
    s.done();
    return { ca, pathLength: path === null ? Infinity : path.content.readUIntBE(0, path.content.length) };
  },
  extendedKeyUsage(d) {
    const s = d.enter(tags.seq);
    const out = [];
    while (s.left > 0) out.push(readOid(s.next(tags.oid).content));
    return out;
  },
  subjectAltName: () => true, // X509Certificate.checkHost reads it
};

// subjectAttributes lists the [type, text] pairs of a subject.
export function subjectAttributes(subject) {
  const out = [];
  const name = new Der(subject).enter(tags.seq);
  while (name.left > 0) {
    const set = name.enter(tags.set);
    while (set.left > 0) {
      const pair = set.enter(tags.seq);
      out.push([readOid(pair.next(tags.oid).content), pair.next().content.toString('utf8')]);
    }
  }
  return out;
}

// generalName writes a DNS name or an IPv4 address.
function generalName(name) {
  return isIPv4(name) ? element(0x87, Buffer.from(name.split('.').map(Number))) : element(0x82, Buffer.from(name));
}

// issue makes a certificate. issuer is {subject, privateKey} with a P-256 key.
// subject is a list of [type, text]; names are DNS names and IPv4 addresses; usage
// the object identifiers of the extended key usage.
export function issue({ issuer, spki, subject, names = [], usage = [], notBefore, notAfter }) {
  const algorithm = seq(oid('1.2.840.10045.4.3.2')); // ecdsa-with-SHA256
  const extension = (id, critical, value) =>
    seq(oid(id), ...(critical ? [element(tags.bool, Buffer.from([0xff]))] : []), element(tags.octets, value));
  const extensions = [
    extension('2.5.29.15', true, element(tags.bits, Buffer.from([7, 0x80]))),
    extension('2.5.29.19', true, seq()),
  ];
  if (usage.length > 0) extensions.push(extension('2.5.29.37', false, seq(...usage.map(oid))));
  if (names.length > 0) {
    extensions.push(extension('2.5.29.17', false, seq(...names.map(generalName))));
  }
  const name = seq(...subject.map(([id, text]) => element(tags.set, seq(oid(id), element(tags.printable, Buffer.from(text))))));
  const tbs = seq(
    element(0xa0, integer([2])),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    issuer.subject,
    seq(time(notBefore), time(notAfter)),
    name,
    spki,
    element(0xa3, seq(...extensions)),
  );
  const signature = cryptoSign('sha256', tbs, issuer.privateKey);
  return seq(tbs, algorithm, element(tags.bits, Buffer.from([0]), signature));
}
