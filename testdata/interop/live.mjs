// Live cases against the other implementation: node live.mjs EXPAT [WORD]
//
// EXPAT is the path of the binary, WORD selects the cases whose names contain it.
// All of it runs on 127.0.0.1. One line for each case, then "N passed, M failed";
// the exit code is 0 only if cases were run and all passed.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allCases, World } from './live/cases.mjs';
import { stopAll } from './live/expat.mjs';

const caseLimit = 20_000;
const wholeLimit = 100_000;

function within(ms, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms} ms`)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

async function main(binary, word) {
  const folder = mkdtempSync(join(tmpdir(), 'expat-interop-'));
  process.on('exit', () => {
    stopAll();
    rmSync(folder, { recursive: true, force: true });
  });
  const world = new World(binary, folder);
  let passed = 0;
  let failed = 0;
  for (const { name, run } of allCases(world).filter((c) => c.name.includes(word))) {
    try {
      await within(caseLimit, run());
      console.log(`ok    ${name}`);
      passed++;
    } catch (e) {
      console.log(`FAIL  ${name}: ${e.message}`);
      failed++;
    }
  }
  await world.stop();
  console.log(`${passed} passed, ${failed} failed`);
  return passed > 0 && failed === 0;
}

process.on('SIGTERM', () => process.exit(1));

const [binary, word = ''] = process.argv.slice(2);
if (binary === undefined) {
  console.error('usage: node live.mjs EXPAT [WORD]');
  process.exit(2);
}
try {
  process.exit((await within(wholeLimit, main(binary, word))) ? 0 : 1);
} catch (e) {
  console.error(`live: ${e.message}`);
  process.exit(1);
}
