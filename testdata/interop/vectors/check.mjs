// Reading of vector files and running of their cases.

import { deepStrictEqual } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Refused } from '../lib/wire.mjs';
import * as authenticators from './authenticators.mjs';
import * as exchanges from './exchanges.mjs';
import { readKeys } from './keys.mjs';
import * as messages from './messages.mjs';
import { any, list, object, oneOf, ShapeError, text } from './shape.mjs';

export const groups = { ...authenticators, ...messages, ...exchanges };

const fileShape = object({ group: text, version: oneOf(1), description: text, reasons: list(text), cases: list(any) }, ['reasons']);
const caseShape = object(
  { id: text, comment: text, source: text, result: oneOf('valid', 'invalid'), reason: text, input: any, expected: any },
  ['source', 'reason', 'expected'],
);

// readFolder reads keys.json and every group file of a folder, all of the groups
// and none beside them.
export function readFolder(folder) {
  const names = readdirSync(folder).filter((n) => n.endsWith('.json')).map((n) => n.slice(0, -5));
  const files = {};
  for (const name of names) files[name] = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  for (const name of [...Object.keys(groups), 'keys']) {
    if (files[name] === undefined) throw new ShapeError(`${folder} has no ${name}.json`);
  }
  return files;
}

// checkFile runs all cases of one group file and gives {passed, failures}.
export function checkFile(name, json, keys) {
  const group = Object.hasOwn(groups, name) ? groups[name] : null;
  if (group === null) throw new ShapeError(`unknown group ${name}`);
  const file = fileShape(json, name);
  if (file.group !== name) throw new ShapeError(`${name}.json has the group ${file.group}`);
  if (file.cases.length === 0) throw new ShapeError(`${name}.json has no cases`);
  const reasons = file.reasons ?? [];
  for (const r of reasons) {
    if (!group.reasons.includes(r)) throw new ShapeError(`${name}.json has the unknown reason ${r}`);
  }
  const seen = new Set();
  const failures = [];
  for (const json of file.cases) {
    try {
      checkCase(group, reasons, seen, json, keys);
    } catch (e) {
      failures.push({ id: String(json?.id), error: e });
    }
  }
  return { passed: file.cases.length - failures.length, failures };
}

function checkCase(group, reasons, seen, json, keys) {
  const c = caseShape(json, 'case');
  if (!/^[a-z0-9-]+$/.test(c.id) || seen.has(c.id)) throw new ShapeError(`id ${c.id} is wrong or stands twice`);
  seen.add(c.id);
  if ((c.result === 'invalid') !== (c.reason !== undefined)) throw new ShapeError('only invalid cases have a reason');
  if (c.reason !== undefined && !reasons.includes(c.reason)) throw new ShapeError(`unknown reason ${c.reason}`);
  const wanted = { result: c.result, reason: c.reason, expected: c.expected };
  deepStrictEqual(outcome(group, group.input(c.input, 'input'), keys), wanted);
}

// outcome says what this implementation makes of an input.
function outcome(group, input, keys) {
  try {
    return { result: 'valid', reason: undefined, expected: group.run(input, keys) };
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    return { result: 'invalid', reason: e.reason, expected: group.refusal?.(e) };
  }
}

// checkFolder checks every file of a folder and gives one result for each group.
export function checkFolder(folder) {
  const { keys: keysJson, ...files } = readFolder(folder);
  const keys = readKeys(keysJson);
  return Object.entries(files).map(([name, json]) => ({ name, ...checkFile(name, json, keys) }));
}
