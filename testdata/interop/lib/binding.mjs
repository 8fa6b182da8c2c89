// The binding of Evidence to a connection, a request and a key
// (draft-fossati-seat-expat, Section 5; docs/protocol.md, Section 6).

import { createHash } from 'node:crypto';
import { digest } from './exporter.mjs';
import { demand } from './wire.mjs';

export const labels = { 'expat-04': 'EXPORTER-cmw-attestation', 'expat-03': 'Attestation' };

const minContext = 16;

// bind gives what signed Evidence has to carry. spki is the SubjectPublicKeyInfo
// as it stands in the leaf.
export function bind({ exporter, hash, profile = 'expat-04', context, spki }) {
  demand(context.length >= minContext, 'short-context', `${context.length} bytes`);
  const label = labels[profile];
  const exportedValue = exporter(label, context, 32);
  const binder = digest(hash, spki, exportedValue);
  const keyHash = digest(hash, spki);
  const reportData = createHash('sha512')
    .update('expat-report-data-v1\0')
    .update(binder)
    .update(keyHash)
    .digest();
  return { label, exportedValue, binder, keyHash, reportData };
}
