// The signature schemes that TLS 1.3 allows in CertificateVerify (RFC 8446,
// Sections 4.2.3 and 4.4.3): no PKCS #1 v1.5, and one hash for each curve.

import { constants, sign as cryptoSign, verify as cryptoVerify } from 'node:crypto';

const ecdsa = (kind, hash) => ({ kind, hash, options: { dsaEncoding: 'der' } });
const pss = (kind, hash) => ({
  kind,
  hash,
  options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
});

export const schemes = new Map([
  [0x0403, ecdsa('P-256', 'sha256')],
  [0x0503, ecdsa('P-384', 'sha384')],
  [0x0603, ecdsa('P-521', 'sha512')],
  [0x0804, pss('rsaEncryption', 'sha256')],
  [0x0805, pss('rsaEncryption', 'sha384')],
  [0x0806, pss('rsaEncryption', 'sha512')],
  [0x0807, { kind: 'Ed25519', hash: null, options: {} }],
  [0x0809, pss('id-RSASSA-PSS', 'sha256')],
  [0x080a, pss('id-RSASSA-PSS', 'sha384')],
  [0x080b, pss('id-RSASSA-PSS', 'sha512')],
]);

const curves = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

// keyKind names the kind of a public key as the table above does, or is null for
// a key that signs no authenticators.
export function keyKind(publicKey) {
  const details = publicKey.asymmetricKeyDetails ?? {};
  const rsa = details.modulusLength >= 2048 && details.modulusLength <= 8192;
  switch (publicKey.asymmetricKeyType) {
    case 'ec':
      return curves[details.namedCurve] ?? null;
    case 'ed25519':
      return 'Ed25519';
    case 'rsa':
      return rsa ? 'rsaEncryption' : null;
    case 'rsa-pss':
      return rsa ? 'id-RSASSA-PSS' : null;
    default:
      return null;
  }
}

export function sign(scheme, privateKey, content) {
  const s = schemes.get(scheme);
  return cryptoSign(s.hash, content, { key: privateKey, ...s.options });
}

export function verify(scheme, publicKey, content, signature) {
  const s = schemes.get(scheme);
  try {
    return cryptoVerify(s.hash, content, { key: publicKey, ...s.options }, signature);
  } catch {
    return false; // a key whose parameters forbid the scheme, for one
  }
}
