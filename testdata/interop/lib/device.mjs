// A simulated device: what makes Evidence (docs/evidence/simulated.md).

import { generateKeyPairSync, sign as cryptoSign } from 'node:crypto';
import * as cbor from './cbor.mjs';
import { issue } from './certificate.mjs';
import { writeClaims } from './claims.mjs';
import { digest } from './exporter.mjs';
import { profile, signatureInput } from './evidence.mjs';
import { hex } from './wire.mjs';

// makeDevice has a vendor's CA certify a device.
//
//   vendor  {root, ca, privateKey}: two parsed certificates and the key of the CA
//   state   {ueid, hwmodel, software, measurements, dbgstat} as in claims.mjs
export function makeDevice(vendor, state) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = issue({
    issuer: { subject: vendor.ca.subject, privateKey: vendor.privateKey },
    spki: publicKey.export({ type: 'spki', format: 'der' }),
    subject: [['2.5.4.3', 'simulated device'], ['2.5.4.5', hex(state.ueid)]],
    notBefore: vendor.ca.notBefore,
    notAfter: vendor.ca.notAfter,
  });
  return {
    state: { ...state, oemid: digest('sha256', vendor.root.spki).subarray(0, 16) },
    chain: [certificate, vendor.ca.der],
    privateKey,
  };
}

// attest makes a token for a binding; change replaces claims, to lie.
export function attest(device, { binder, keyHash }, change = {}) {
  const claims = { ...device.state, nonce: binder, keyHash, keyProvenance: 1, ...change };
  const protectedHeader = cbor.encode(
    cbor.map([cbor.int(1), cbor.int(-7)], [cbor.int(33), cbor.array(...device.chain.map(cbor.bytes))]),
  );
  const payload = writeClaims(claims, profile);
  const key = { key: device.privateKey, dsaEncoding: 'ieee-p1363' };
  const signature = cryptoSign('sha256', signatureInput(protectedHeader, payload), key);
  return cbor.encode(
    cbor.tag(18, cbor.array(cbor.bytes(protectedHeader), cbor.map(), cbor.bytes(payload), cbor.bytes(signature))),
  );
}
