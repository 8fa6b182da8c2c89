// The other end for `expat serve` and `expat connect`, over OpenSSL:
//
//   node peer.mjs connect ADDR --state DIR [--verify] [--attest] [--message TEXT]
//   node peer.mjs serve --state DIR [--verify] [--attest]
//
// serve takes one connection and echoes. DIR is the directory of `expat serve`.

import { parseArgs } from 'node:util';
import { dial, listen } from './live/link.mjs';
import { Side } from './live/side.mjs';
import { makeIdentity, makeTee, readState } from './live/state.mjs';

function options(role, state, values) {
  const attests = { identity: makeIdentity(state, role), device: makeTee(state, role) };
  return { role, state, asks: values.verify, ...(values.attest ? attests : {}) };
}

function learned(side) {
  for (const { claims } of side.exchange.peer.authenticator?.evidence ?? []) {
    console.error(`peer is ${claims.ueid.toString('hex')}, ${claims.software.name} ${claims.software.version}`);
  }
}

async function connect(address, values) {
  const state = readState(values.state);
  const link = await dial(address, state);
  const side = new Side(link, options('client', state, values));
  await side.run();
  learned(side);
  link.write(Buffer.from(values.message));
  console.log(String(await link.bytes(Buffer.byteLength(values.message))));
  await link.close();
}

async function serve(values) {
  const state = readState(values.state);
  const server = await listen(makeIdentity(state, 'server'));
  console.log(`listening on ${server.address}`);
  const link = await server.link;
  server.close();
  const side = new Side(link, options('server', state, values));
  await side.run();
  learned(side);
  link.write(link.pending);
  link.socket.removeAllListeners('data');
  link.socket.pipe(link.socket);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    state: { type: 'string' },
    verify: { type: 'boolean', default: false },
    attest: { type: 'boolean', default: false },
    message: { type: 'string', default: 'hello' },
  },
});

try {
  const [verb, address] = positionals;
  if (values.state === undefined || !['connect', 'serve'].includes(verb)) throw new Error('usage: peer.mjs connect ADDR|serve --state DIR');
  await (verb === 'connect' ? connect(address, values) : serve(values));
} catch (e) {
  console.error(`peer: ${e.message}`);
  process.exitCode = 1;
}
