// Peers that do not get as far as an exchange, or that leave it.

import { deepStrictEqual, match, strictEqual } from 'node:assert';
import { frameTypes, readFrame } from '../lib/frames.mjs';
import { Refused } from '../lib/wire.mjs';
import { runConnect } from './expat.mjs';
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

export const strangers = {
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
    deepStrictEqual(await connectTo(world, {}, silence, ['--timeout', '1s']), failed('hello'));
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
