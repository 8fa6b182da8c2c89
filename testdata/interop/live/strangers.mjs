// Peers that do not get as far as an exchange, or that leave it.

import { deepStrictEqual, match, strictEqual } from 'node:assert';
import { fileURLToPath } from 'node:url';
import { frameTypes, readFrame } from '../lib/frames.mjs';
import { Refused } from '../lib/wire.mjs';
import { Lines, runConnect, start } from './expat.mjs';
import { dial, listen } from './link.mjs';
import { makeIdentity } from './state.mjs';

// connectTo has expat connect meet a Node server that is set up by `tls`; talk
// says what it does with the connection, if there is one.
async function connectTo(world, tls, talk, flags = []) {
  await world.server('--attester', 'simulated');
  const here = await listen(makeIdentity(world.state, 'server'), tls);
  const there = runConnect(world.binary, world.folder, here.address, [...flags, '--message', 'x']);
  try {
    const link = await here.link;
    await talk(link);
    await link.close();
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
  } finally {
    here.close();
  }
  const { exit, said } = await there;
  return { exit, step: said.step, outcome: said.outcome };
}

// refusedDial has Node meet expat serve with settings that it must refuse. It
// gives what OpenSSL says, and the step that the server logs.
async function refusedDial(world, tls) {
  const server = await world.server('--attester', 'simulated', '--verify');
  let error = 'none';
  try {
    const link = await dial(server.address, world.state, tls);
    link.socket.destroy();
  } catch (e) {
    error = e.message;
  }
  return { error, log: await server.log() };
}

const timeout = 11; // docs/protocol.md, Section 4
const failed = (step) => ({ exit: 3, step, outcome: 'failed' });

// relay stands between expat connect and expat serve with the key of a certificate
// that the client trusts, and passes on every byte.
async function relay(world) {
  const server = await world.server('--attester', 'simulated');
  const here = await listen(makeIdentity(world.state, 'server'));
  const there = runConnect(world.binary, world.folder, here.address, ['--message', 'x']);
  const link = await here.link;
  here.close();
  const onward = await dial(server.address, world.state);
  link.write(onward.pending);
  onward.write(link.pending);
  link.socket.pipe(onward.socket);
  onward.socket.pipe(link.socket);
  const { exit, said } = await there;
  return { exit, said, log: await server.log() };
}

// viaCommand runs peer.mjs, as a user would.
function viaCommand(world, verb, ...args) {
  const script = fileURLToPath(new URL('../peer.mjs', import.meta.url));
  return start(process.execPath, [script, verb, ...args, '--state', world.folder, '--attest', '--verify']);
}

export const strangers = {
  async 'relay between client and server'(world) {
    const { exit, said, log } = await relay(world);
    deepStrictEqual([exit, said.step, said.alert], [1, 'validate', 'wrong connection']);
    deepStrictEqual([log.msg, log.step, log.side, log.alert], ['refused', 'result', 'peer', 'wrong connection']);
  },
  async 'peer.mjs connect'(world) {
    const server = await world.server('--attester', 'simulated', '--verify');
    const child = viaCommand(world, 'connect', server.address, '--message', 'hello');
    strictEqual(await new Lines(child.stdout).next(), 'hello');
    deepStrictEqual(await child.ended, { code: 0 });
    deepStrictEqual([(await server.log()).msg, (await server.log()).msg], ['accepted', 'ended']);
  },
  async 'peer.mjs serve'(world) {
    await world.server('--attester', 'simulated');
    const child = viaCommand(world, 'serve');
    const address = (await new Lines(child.stdout).next()).replace('listening on ', '');
    const flags = ['--attester', 'simulated', '--message', 'hello'];
    const { exit, said } = await runConnect(world.binary, world.folder, address, flags);
    deepStrictEqual([exit, said.reply], [0, 'hello']);
    deepStrictEqual(await child.ended, { code: 0 });
  },
  async 'server without ALPN'(world) {
    deepStrictEqual(await connectTo(world, { ALPNProtocols: undefined }, () => {}), failed('negotiate'));
  },
  async 'server of another ALPN name'(world) {
    // OpenSSL ends the handshake from Node 20 on; before, it chooses no name.
    const { exit, step } = await connectTo(world, { ALPNProtocols: ['h2'] }, () => {});
    strictEqual(exit, 3);
    match(step, /^(tls|negotiate)$/);
  },
  async 'server of TLS 1.2'(world) {
    const tls = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' };
    deepStrictEqual(await connectTo(world, tls, () => {}), failed('tls'));
  },
  async 'server that leaves at once'(world) {
    deepStrictEqual(await connectTo(world, {}, () => {}), failed('hello'));
  },
  async 'server that says nothing'(world) {
    const seen = [];
    const silence = async (link) => {
      while (!seen.includes(frameTypes.alert)) {
        const f = readFrame(await link.frame(0), 0);
        seen.push(f.type);
        if (f.alert !== undefined) seen.push(f.alert.code);
      }
    };
    deepStrictEqual(await connectTo(world, {}, silence, ['--timeout', '3s']), failed('hello'));
    deepStrictEqual(seen, [frameTypes.hello, frameTypes.request, frameTypes.alert, timeout]);
  },
  async 'client without ALPN'(world) {
    const { error, log } = await refusedDial(world, { ALPNProtocols: undefined });
    match(error, /alpn/);
    deepStrictEqual([log.msg, log.step], ['refused', 'tls']);
  },
  async 'client of another ALPN name'(world) {
    const { error, log } = await refusedDial(world, { ALPNProtocols: ['h2'] });
    match(error, /no application protocol/);
    deepStrictEqual([log.msg, log.step], ['refused', 'tls']);
  },
  async 'client of TLS 1.2'(world) {
    const { error, log } = await refusedDial(world, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    match(error, /protocol version/);
    deepStrictEqual([log.msg, log.step], ['refused', 'tls']);
  },
};
