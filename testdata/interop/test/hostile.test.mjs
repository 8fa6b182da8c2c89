// Hostile input: whatever becomes of the bytes, the library refuses them by a
// reason and never fails otherwise.

import assert from 'node:assert';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Refused } from '../lib/wire.mjs';
import { groups, readFolder } from '../vectors/check.mjs';
import { readKeys } from '../vectors/keys.mjs';

const { keys: keysJson, ...files } = readFolder(fileURLToPath(new URL('../../vectors', import.meta.url)));
const keys = readKeys(keysJson);

// The bytes that a peer chooses, by group.
const hostile = {
  request: (i) => [i, 'message'],
  authenticator: (i) => [i, 'authenticator'],
  cmw: (i) => [i, 'message'],
  cmw_attestation: (i) => (i.entries[0]?.[0] === undefined ? null : [i.entries[0][0], 'data']),
  simulated_evidence: (i) => [i, 'evidence'],
  frames: (i) => [i, 'frame'],
  transcript: (i) => {
    const received = i.frames.filter((f) => f.from !== i.observer);
    return received.length === 0 ? null : [received[received.length - 1], 'frame'];
  },
};

// random gives the same numbers on every run.
function* random(seed) {
  for (let n = 0; ; n++) yield createHash('sha256').update(`${seed} ${n}`).digest().readUInt32BE(0);
}

function mutate(bytes, numbers) {
  const next = (below) => numbers.next().value % Math.max(1, below);
  const out = Buffer.from(bytes);
  if (out.length === 0) return Buffer.from([next(256)]);
  switch (next(4)) {
    case 0:
      return out.subarray(0, next(out.length));
    case 1:
      out[next(out.length)] = next(256);
      return out;
    case 2: {
      const at = next(out.length);
      return Buffer.concat([out.subarray(0, at), Buffer.from([next(256)]), out.subarray(at)]);
    }
    default: {
      const at = next(out.length);
      return Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + next(8))]);
    }
  }
}

const rounds = 5;

for (const [name, find] of Object.entries(hostile)) {
  test(`${name}: changed bytes are judged or refused`, () => {
    const numbers = random(name);
    let refusals = 0;
    for (const c of files[name].cases) {
      for (let i = 0; i < rounds; i++) {
        const input = groups[name].input(c.input, 'input');
        const place = find(input);
        if (place === null) continue;
        const [holder, member] = place;
        holder[member] = mutate(holder[member], numbers);
        try {
          groups[name].run(input, keys);
        } catch (e) {
          assert.ok(e instanceof Refused, `${c.id} ${holder[member].toString('hex').slice(0, 400)}: ${e.stack}`);
          refusals++;
        }
      }
    }
    assert.ok(refusals > files[name].cases.length, `only ${refusals} refusals`);
  });
}

test('no byte of an authenticator can change', () => {
  const c = files.authenticator.cases.find((x) => x.id === 'attestation-sha256-server-p256');
  const group = groups.authenticator;
  const { length } = group.input(c.input, 'input').authenticator;
  for (let at = 0; at < length; at++) {
    const input = group.input(c.input, 'input');
    input.authenticator[at] ^= 1 << at % 8;
    assert.throws(() => group.run(input, keys), Refused, `byte ${at}`);
  }
});
