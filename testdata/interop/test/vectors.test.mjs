// The vector checker: it passes the vectors, and fails when anything in them is
// changed.

import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkFile, groups, readFolder } from '../vectors/check.mjs';
import { readKeys } from '../vectors/keys.mjs';

const folder = fileURLToPath(new URL('../../vectors', import.meta.url));
const checker = fileURLToPath(new URL('../check-vectors.mjs', import.meta.url));
const { keys: keysJson, ...files } = readFolder(folder);
const keys = readKeys(keysJson);
const sample = 8;

const copy = (json) => JSON.parse(JSON.stringify(json));
const only = (name, c) => ({ ...files[name], cases: [c] });
const failsCase = (name, c) => checkFile(name, only(name, c), keys).failures.length === 1;

// spread takes a number of elements from all over a list.
function spread(list) {
  const step = Math.max(1, Math.floor(list.length / sample));
  return list.filter((_, i) => i % step === 0).slice(0, sample);
}

// changes gives every way to change one leaf of a JSON value.
function* changes(value) {
  if (value === null) yield '00';
  else if (typeof value === 'number') yield value + 1;
  else if (typeof value === 'boolean') yield !value;
  else if (typeof value === 'string') yield* changedTexts(value);
  else {
    for (const key of Object.keys(value)) {
      for (const changed of changes(value[key])) {
        const out = copy(value);
        out[key] = changed;
        yield out;
      }
    }
    if (!Array.isArray(value)) yield { ...value, surprise: 1 };
  }
}

// changedTexts flips a bit of the first and of the last byte of a hex string.
function* changedTexts(text) {
  if (!/^([0-9a-f]{2})+$/.test(text)) {
    yield `${text}x`;
    return;
  }
  const bytes = Buffer.from(text, 'hex');
  for (const at of new Set([0, bytes.length - 1])) {
    const flipped = Buffer.from(bytes);
    flipped[at] ^= 0x10;
    yield flipped.toString('hex');
  }
}

for (const name of Object.keys(groups)) {
  const { cases } = files[name];

  test(`${name}: a changed expectation fails`, () => {
    let count = 0;
    for (const c of spread(cases.filter((x) => x.expected !== undefined))) {
      assert.ok(!failsCase(name, c), c.id);
      for (const expected of changes(c.expected)) {
        assert.ok(failsCase(name, { ...c, expected }), `${c.id}: ${JSON.stringify(expected).slice(0, 200)}`);
        count++;
      }
    }
    assert.ok(count > sample, 'too few changes');
  });

  test(`${name}: another result or reason fails`, () => {
    for (const c of spread(cases)) {
      const { reason, ...rest } = c;
      if (reason === undefined) {
        const other = files[name].reasons?.[0] ?? 'malformed';
        assert.ok(failsCase(name, { ...c, result: 'invalid', reason: other }), c.id);
        continue;
      }
      assert.ok(failsCase(name, { ...rest, result: 'valid' }), c.id);
      for (const other of files[name].reasons.filter((r) => r !== reason)) assert.ok(failsCase(name, { ...c, reason: other }), c.id);
    }
  });

  test(`${name}: what is unknown fails`, () => {
    const [c] = cases;
    assert.ok(failsCase(name, { ...c, surprise: 1 }));
    assert.ok(failsCase(name, { ...c, input: { ...c.input, surprise: 1 } }));
    assert.ok(failsCase(name, { ...c, id: 'Not An Id' }));
    assert.ok(failsCase(name, { ...c, result: 'invalid', reason: 'surprise', expected: undefined }));
    assert.throws(() => checkFile(name, { ...files[name], cases: [] }, keys), /no cases/);
    assert.throws(() => checkFile(name, { ...files[name], version: 2 }, keys), /version/);
    assert.throws(() => checkFile(name, { ...files[name], surprise: 1 }, keys), /surprise/);
    assert.throws(() => checkFile(name, { ...files[name], reasons: ['surprise'] }, keys), /unknown reason/);
    assert.throws(() => checkFile(name, { ...files[name], group: 'keys' }, keys), /group/);
    assert.strictEqual(checkFile(name, { ...files[name], cases: [c, c] }, keys).failures.length, 1);
  });
}

test('unknown groups and keys fail', () => {
  assert.throws(() => checkFile('surprise', files.cmw, keys), /unknown group/);
  assert.throws(() => readKeys({ ...keysJson, surprise: 1 }), /surprise/);
  const mixed = copy(keysJson);
  mixed.identities[0].private_key = mixed.identities[6].private_key;
  assert.throws(() => readKeys(mixed), /not the key of its leaf/);
});

// check runs the command on a folder that holds these files.
function check(content) {
  const dir = mkdtempSync(join(tmpdir(), 'expat-vectors-'));
  try {
    for (const [name, json] of Object.entries(content)) writeFileSync(join(dir, `${name}.json`), JSON.stringify(json));
    return spawnSync(process.execPath, [checker, dir], { encoding: 'utf8' });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('the command counts and has an exit code', () => {
  const all = { ...files, keys: keysJson };
  const good = check(all);
  const total = Object.values(files).reduce((n, f) => n + f.cases.length, 0);
  assert.strictEqual(good.stdout.trim().split('\n').pop(), `${total} passed, 0 failed`);
  assert.strictEqual(good.status, 0);

  const bad = copy(files.exporter);
  bad.cases[0].expected.exported = bad.cases[0].expected.exported.replace(/^../, (b) => (b === '00' ? '01' : '00'));
  const failed = check({ ...all, exporter: bad });
  assert.strictEqual(failed.stdout.trim().split('\n').pop(), `${total - 1} passed, 1 failed`);
  assert.strictEqual(failed.status, 1);

  const { exporter, ...fewer } = all;
  assert.strictEqual(check(fewer).status, 1);
  assert.strictEqual(check({ ...all, surprise: exporter }).status, 1);
  assert.strictEqual(check({}).status, 1);
});
