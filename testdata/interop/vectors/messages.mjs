// The groups cmw_attestation, cmw and simulated_evidence (README of the vectors,
// Sections 5.5 to 5.7).

import { extractAttestation } from '../lib/attestation.mjs';
import { bind } from '../lib/binding.mjs';
import { parseCertificate } from '../lib/certificate.mjs';
import { provenances } from '../lib/claims.mjs';
import { encodeCbor, encodeJson } from '../lib/cmw-encode.mjs';
import { decodeCmw } from '../lib/cmw.mjs';
import { judgeBinding, verifyEvidence } from '../lib/evidence.mjs';
import { hex } from '../lib/wire.mjs';
import { exporterOf } from './keys.mjs';
import { bytes, connection, extension, formatTime, list, nullable, object, oneOf, text, time } from './shape.mjs';

export const cmw_attestation = {
  reasons: [
    'offer-not-empty', 'illegal-extension', 'not-offered', 'placement', 'missing', 'length-prefix', 'cmw',
    'message-kind', 'media-type',
  ],
  input: object({ offer: nullable(bytes), entries: list(list(extension)), accept: list(text) }),
  run(i) {
    const { cmwData, leaves } = extractAttestation(i);
    return {
      cmw_data: hex(cmwData),
      leaves: leaves.map((l) => ({ media_type: l.mediaType, value: hex(l.value), indicator: l.indicator ?? 0 })),
    };
  },
};

export const cmw = {
  reasons: [
    'empty', 'too-large', 'signed', 'syntax', 'trailing', 'too-deep', 'too-many-leaves', 'tag', 'ambiguous-tag',
    'media-type', 'value', 'empty-value', 'indicator', 'label', 'duplicate-label', 'collection-type', 'empty-collection',
  ],
  input: object({ message: bytes }),
  run(i) {
    const tree = decodeCmw(i.message);
    const json = encodeJson(tree);
    for (const again of [encodeCbor(tree), json]) {
      if (again !== null) decodeCmw(again);
    }
    return { message: describe(tree), cbor: hex(encodeCbor(tree)), json: json === null ? null : hex(json) };
  },
};

function describe(tree) {
  if (tree.kind === 'collection') {
    const items = tree.items.map(({ label, message }) => ({
      label: typeof label === 'bigint' ? { int: String(label) } : { text: label },
      message: describe(message),
    }));
    return { kind: 'collection', collection_type: tree.collectionType, items };
  }
  const typed = { media_type: tree.mediaType, content_format: tree.contentFormat, value: hex(tree.value) };
  if (tree.kind === 'tag') return { kind: 'tag', tag: tree.tag, ...typed };
  return { kind: 'record', ...typed, indicator: tree.indicator };
}

const debugWords = [
  'enabled', 'disabled', 'disabled-since-boot', 'disabled-permanently', 'disabled-fully-and-permanently',
];

export const simulated_evidence = {
  reasons: [
    'media-type', 'size', 'envelope', 'header', 'x5chain', 'signature-size', 'claims', 'chain', 'signature', 'oemid',
    'binder', 'key-hash',
  ],
  input: object({
    connection,
    profile: oneOf('expat-04', 'expat-03'),
    context: bytes,
    certificate: bytes,
    media_type: text,
    evidence: bytes,
    roots: list(text),
    time,
  }),
  run(i, keys) {
    const { spki } = parseCertificate(i.certificate, 'certificate');
    const b = bind({ exporter: exporterOf(i.connection), hash: i.connection.hash, profile: i.profile, context: i.context, spki });
    const found = verifyEvidence({
      mediaType: i.media_type,
      evidence: i.evidence,
      roots: i.roots.map(keys.root),
      time: i.time,
    });
    judgeBinding(found, b);
    return describeClaims(found);
  },
};

function describeClaims({ claims: c, signer }) {
  return {
    binder: hex(c.nonce),
    key_hash: hex(c.keyHash),
    instance: hex(c.ueid),
    vendor: hex(c.oemid),
    hardware_model: c.hwmodel === null ? null : hex(c.hwmodel),
    debug: c.dbgstat === null ? 'not-stated' : debugWords[c.dbgstat],
    software: c.software,
    measurements: c.measurements.map((m) => ({ ...m, digest: hex(m.digest) })),
    key_provenance: provenances[c.keyProvenance],
    signer: { serial: signer.serial, key_id: hex(signer.keyId), not_after: formatTime(signer.notAfter) },
  };
}
