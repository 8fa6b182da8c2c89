// The state directory of `expat serve`: test keys, roots and reference values.

import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { issue, parseCertificate } from '../lib/certificate.mjs';
import { makeDevice } from '../lib/device.mjs';

const day = 24 * 3600 * 1000;

// pemBlocks lists the blocks of a PEM file with their labels; what stands around
// them is for people.
function pemBlocks(file) {
  const pattern = /-----BEGIN ([A-Z0-9 ]+)-----\n([A-Za-z0-9+/=\n]+)-----END \1-----/g;
  return [...readFileSync(file, 'utf8').matchAll(pattern)].map(([, label, body]) => ({
    label,
    der: Buffer.from(body, 'base64'),
  }));
}

function certificatesIn(file) {
  return pemBlocks(file).filter((b) => b.label === 'CERTIFICATE').map((b) => parseCertificate(b.der, 'certificate'));
}

function keyIn(file) {
  const block = pemBlocks(file).find((b) => b.label.endsWith('KEY'));
  return createPrivateKey({ key: block.der, format: 'der', type: 'pkcs8' });
}

export function pem(der) {
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/(.{64})/g, '$1\n').trim()}\n-----END CERTIFICATE-----\n`;
}

// readState reads all of it.
export function readState(folder) {
  const file = (name) => join(folder, name);
  const [root] = certificatesIn(file('ca.pem'));
  const [vendorRoot] = certificatesIn(file('simulated-root.pem'));
  const vendorFile = file('simulated-vendor-test-key.pem');
  return {
    root,
    caKey: keyIn(file('ca-test-key.pem')),
    evidenceRoot: vendorRoot,
    vendor: { root: vendorRoot, ca: certificatesIn(vendorFile)[1], privateKey: keyIn(vendorFile) },
    reference: JSON.parse(readFileSync(file('simulated-reference.json'), 'utf8')),
  };
}

const keyTypes = {
  'P-256': [0x0403, 'ec', { namedCurve: 'P-256' }],
  'P-384': [0x0503, 'ec', { namedCurve: 'P-384' }],
  'P-521': [0x0603, 'ec', { namedCurve: 'P-521' }],
  Ed25519: [0x0807, 'ed25519', {}],
  RSA: [0x0804, 'rsa', { modulusLength: 2048 }],
  'RSA-SHA512': [0x0806, 'rsa', { modulusLength: 2048 }],
  'RSA-PSS': [0x0809, 'rsa-pss', { modulusLength: 2048 }],
};

const usages = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };

// makeIdentity makes a key of the kind and has the CA of the state issue its
// certificate for the role.
export function makeIdentity(state, role, kind = 'P-256') {
  const [scheme, type, options] = keyTypes[kind];
  const { publicKey, privateKey } = generateKeyPairSync(type, options);
  const certificate = issue({
    issuer: { subject: state.root.subject, privateKey: state.caKey },
    spki: publicKey.export({ type: 'spki', format: 'der' }),
    subject: [['2.5.4.3', `interop ${role}`]],
    names: role === 'server' ? ['localhost', '127.0.0.1'] : ['client.interop'],
    usage: [usages[role]],
    notBefore: Date.now() - day / 48,
    notAfter: Date.now() + day / 24,
  });
  return { scheme, privateKey, chain: [certificate], leaf: parseCertificate(certificate, 'certificate') };
}

const disabledSinceBoot = 2;

// makeTee makes the device that the reference values of the role describe.
export function makeTee(state, role) {
  const want = state.reference[role];
  return makeDevice(state.vendor, {
    ueid: Buffer.from(want.instance, 'hex'),
    hwmodel: Buffer.from(want.hardware_model),
    dbgstat: disabledSinceBoot,
    software: { name: want.software_name, version: want.software_version },
    measurements: want.measurements.map((m) => ({
      name: m.name,
      version: null,
      algorithm: 'sha-256',
      digest: Buffer.from(m.sha256, 'hex'),
    })),
  });
}

// appraise compares claims with the reference values of the role. It lists what
// differs.
export function appraise(state, role, claims) {
  const want = state.reference[role];
  const digests = (list) => JSON.stringify(list);
  const checks = {
    instance: claims.ueid.toString('hex') === want.instance,
    hardware: claims.hwmodel?.toString() === want.hardware_model,
    debug: claims.dbgstat !== null && claims.dbgstat > 0,
    software: claims.software?.name === want.software_name && claims.software?.version === want.software_version,
    measurements:
      digests(claims.measurements.map((m) => [m.name, m.digest.toString('hex')])) ===
      digests(want.measurements.map((m) => [m.name, m.sha256])),
    provenance: claims.keyProvenance === 1,
  };
  return Object.keys(checks).filter((name) => !checks[name]);
}
