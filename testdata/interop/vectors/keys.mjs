// keys.json: roots and identities that cases name.

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { parseCertificate } from '../lib/certificate.mjs';
import { exporter12, exporter13 } from '../lib/exporter.mjs';
import { integer, list, object, bytes, oneOf, ShapeError, text } from './shape.mjs';

const shape = object({
  version: oneOf(1),
  description: text,
  roots: list(object({ name: text, comment: text, certificate: bytes })),
  identities: list(object({ name: text, comment: text, scheme: integer, private_key: bytes, certificates: list(bytes) })),
});

// readKeys checks keys.json, and that every private key is that of its leaf.
export function readKeys(json) {
  const { roots, identities } = shape(json, 'keys');
  for (const i of identities) {
    i.privateKey = createPrivateKey({ key: i.private_key, format: 'der', type: 'pkcs8' });
    i.leaf = parseCertificate(i.certificates[0], 'certificate');
    if (rawKey(createPublicKey(i.privateKey)) !== rawKey(i.leaf.publicKey)) throw new ShapeError(`${i.name}: not the key of its leaf`);
  }
  return {
    identities,
    root: (name) => parseCertificate(find(roots, name).certificate, 'certificate'),
    identity: (name) => find(identities, name),
  };
}

function find(all, name) {
  const found = all.find((x) => x.name === name);
  if (found === undefined) throw new ShapeError(`keys.json has no ${name}`);
  return found;
}

// rawKey compares keys without the name of their algorithm: an id-RSASSA-PSS key
// is an rsaEncryption key in PKCS#8.
function rawKey(key) {
  const jwkLess = key.asymmetricKeyType.startsWith('rsa');
  if (!jwkLess) return key.export({ type: 'spki', format: 'der' }).toString('hex');
  const der = key.export({ type: 'spki', format: 'der' });
  return der.subarray(-(key.asymmetricKeyDetails.modulusLength / 8)).toString('hex');
}

// exporterOf gives the exporter of a connection: (label, context, length).
export function exporterOf(c) {
  if (c.tls === '1.3') return (...args) => exporter13(c.hash, c.exporter_master_secret, ...args);
  return (...args) => exporter12(c.hash, c.master_secret, c.client_random, c.server_random, ...args);
}
