// The processes of the other implementation: expat serve and expat connect.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// Names of the codes (docs/protocol.md, Section 4).
export const codeNames = [
  'accepted', 'malformed', 'unsupported extension', 'context reuse', 'wrong connection', 'certificate',
  'attestation required', 'attestation rejected', 'verifier unavailable', 'refused', 'limit', 'timeout', 'internal',
  'protocol',
];

const running = new Set();

// start runs a program; child.ended gives its exit code.
export function start(binary, args) {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.ended = new Promise((resolve) => {
    child.on('error', (e) => resolve({ code: null, error: e }));
    child.on('close', (code) => resolve({ code }));
  }).then((r) => {
    running.delete(child);
    return r;
  });
  return child;
}

// stopAll ends every process that was started here.
export function stopAll() {
  for (const child of running) child.kill('SIGKILL');
}

// Lines queues the lines of a stream for whoever asks.
export class Lines {
  constructor(stream) {
    this.queue = [];
    this.waiting = [];
    createInterface({ input: stream }).on('line', (line) => {
      const next = this.waiting.shift();
      if (next === undefined) this.queue.push(line);
      else next(line);
    });
  }

  next() {
    if (this.queue.length > 0) return Promise.resolve(this.queue.shift());
    return new Promise((resolve) => {
      this.waiting.push(resolve);
    });
  }
}

// Server is a running expat serve. log() gives its next log entry.
export class Server {
  static async start(binary, state, args) {
    const s = new Server();
    s.child = start(binary, ['serve', '--state', state, '--json', '--for', '110s', ...args]);
    s.lines = new Lines(s.child.stderr);
    const line = await new Lines(s.child.stdout).next();
    s.address = line.replace('listening on ', '');
    return s;
  }

  async log() {
    return JSON.parse(await this.lines.next());
  }

  async stop() {
    this.child.kill('SIGTERM');
    return this.child.ended;
  }
}

// runConnect runs expat connect to its end and gives its exit code and what it said.
export async function runConnect(binary, state, address, args) {
  const child = start(binary, ['connect', address, '--state', state, '--json', ...args]);
  const out = [];
  const err = [];
  child.stdout.on('data', (b) => out.push(b));
  child.stderr.on('data', (b) => err.push(b));
  const { code } = await child.ended;
  const text = Buffer.concat(out).toString();
  return { exit: code, said: text === '' ? {} : JSON.parse(text), stderr: Buffer.concat(err).toString() };
}
