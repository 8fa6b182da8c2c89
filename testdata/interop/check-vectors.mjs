// Checks the interop vectors: node check-vectors.mjs [DIR]
//
// It prints one line for each group and ends with "N passed, M failed". The exit
// code is 0 only if cases were run and all passed.

import { fileURLToPath } from 'node:url';
import { checkFolder } from './vectors/check.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../vectors', import.meta.url));

function main() {
  let passed = 0;
  let failed = 0;
  for (const result of checkFolder(folder)) {
    console.log(`${result.name}: ${result.passed} passed, ${result.failures.length} failed`);
    for (const { id, error } of result.failures) console.error(`${result.name}/${id}: ${error.message}`);
    passed += result.passed;
    failed += result.failures.length;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return passed > 0 && failed === 0;
}

try {
  process.exitCode = main() ? 0 : 1;
} catch (e) {
  console.error(`check-vectors: ${e.message}`);
  process.exitCode = 1;
}
