// Path validation (RFC 5280, Section 6) as far as test certificates need it:
// signatures, names, validity, CA, path length, key usage, purpose, host name.

import { isIP } from 'node:net';
import { demand } from './wire.mjs';

const purposes = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };
const anyPurpose = '2.5.29.37.0';

// buildPath finds a way from the leaf over some of the others to a root and gives
// it with the root at its end, or null. purpose is 'server', 'client' or null.
export function buildPath({ leaf, others, roots, time, purpose }) {
  if (leaf.critical.length > 0 || !inTime(leaf, time) || !serves(leaf, purpose)) return null;
  return extend([leaf], others, roots, time, purpose);
}

function extend(path, others, roots, time, purpose) {
  const last = path[path.length - 1];
  for (const root of roots) {
    if (signs(root, last, path.length - 1) && inTime(root, time)) return [...path, root];
  }
  for (const next of others) {
    if (path.includes(next) || !signs(next, last, path.length - 1)) continue;
    if (next.critical.length > 0 || !inTime(next, time) || !serves(next, purpose)) continue;
    const whole = extend([...path, next], others.filter((o) => o !== next), roots, time, purpose);
    if (whole !== null) return whole;
  }
  return null;
}

const inTime = (c, time) => c.notBefore <= time && time <= c.notAfter;

// signs says whether issuer is a CA that made subject, with `below` CAs under it.
function signs(issuer, subject, below) {
  if (!issuer.subject.equals(subject.issuer) || !issuer.basicConstraints?.ca) return false;
  if (issuer.keyUsage?.keyCertSign === false || below > issuer.basicConstraints.pathLength) return false;
  try {
    return subject.x509.verify(issuer.publicKey);
  } catch {
    return false; // a key of another kind than the signature
  }
}

function serves(c, purpose) {
  if (purpose === null || c.extendedKeyUsage === undefined) return true;
  return c.extendedKeyUsage.includes(purposes[purpose]) || c.extendedKeyUsage.includes(anyPurpose);
}

// checkChain validates the chain of an authenticator made by sender, for the
// server's name where there is one (RFC 6125: subjectAltName only).
export function checkChain({ chain, roots, time, sender, serverName }) {
  const [leaf, ...others] = chain;
  const path = buildPath({ leaf, others, roots, time, purpose: sender });
  demand(path !== null, 'chain', 'no valid path to a root');
  demand(leaf.keyUsage?.digitalSignature !== false, 'chain', 'the key may not sign (RFC 8446, Section 4.4.2.2)');
  if (serverName !== null) demand(named(leaf.x509, serverName), 'chain', 'the certificate is for another name');
  return path;
}

function named(x509, name) {
  if (isIP(name) !== 0) return x509.checkIP(name) !== undefined;
  return x509.checkHost(name, { subject: 'never' }) !== undefined;
}
