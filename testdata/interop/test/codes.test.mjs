// The codes of ALERT and RESULT (docs/protocol.md, Section 4).

import assert from 'node:assert';
import test from 'node:test';
import { codeOf } from '../lib/exchange.mjs';
import { Refused } from '../lib/wire.mjs';

const rows = [
  [null, 'rejected'], [null, 'alert'], [13, 'order'], [13, 'truncated'], [13, 'nobody-asks'], [13, 'request', 'unexpected-message'],
  [10, 'too-large'], [10, 'authenticator', 'limit'], [1, 'malformed'], [1, 'request', 'malformed'], [1, 'authenticator', 'malformed'],
  [1, 'attestation', 'cmw'], [1, 'attestation', 'message-kind'], [2, 'authenticator', 'unsupported-extension'],
  [3, 'context-reuse'], [3, 'authenticator', 'context-mismatch'], [4, 'authenticator', 'signature'], [4, 'authenticator', 'finished'],
  [4, 'reflected'], [5, 'authenticator', 'certificate'], [5, 'authenticator', 'chain'], [5, 'authenticator', 'scheme'],
  [6, 'cannot-attest'], [6, 'attestation', 'missing'], [7, 'attestation', 'media-type'], [7, 'evidence', 'signature'],
  [7, 'binding', 'binder'], [9, 'refused'],
];

for (const [code, reason, cause] of rows) {
  test(`${reason} ${cause ?? ''}: ${code}`, () => {
    const refusal = Object.assign(new Refused(reason), cause && { cause: new Refused(cause) });
    assert.strictEqual(codeOf(refusal), code);
  });
}
