// The live cases: conversations that succeed, peers that lie, peers that
// misbehave. Each is {name, run}; run gives nothing or throws.

import { deepStrictEqual, strictEqual } from 'node:assert';
import { generateKeyPairSync } from 'node:crypto';
import { Refused } from '../lib/wire.mjs';
import { codeNames, runConnect, Server } from './expat.mjs';
import { faults } from './faults.mjs';
import { dial, listen } from './link.mjs';
import { Side } from './side.mjs';
import { makeIdentity, makeTee, readState } from './state.mjs';
import { strangers } from './strangers.mjs';

const sha384 = { ciphers: 'TLS_AES_256_GCM_SHA384' };
const sha256 = { ciphers: 'TLS_AES_128_GCM_SHA256' };
const message = 'a message of the application';

// conversations lists what succeeds. `asks` and `attests` are what Node does.
const conversations = [
  { name: 'relying party, SHA-256', asks: true, tls: sha256 },
  { name: 'relying party, SHA-384', asks: true, tls: sha384 },
  { name: 'attester, SHA-256', attests: true, tls: sha256 },
  { name: 'attester, SHA-384', attests: true, tls: sha384 },
  { name: 'mutual, SHA-256', asks: true, attests: true, tls: sha256 },
  { name: 'mutual, SHA-384', asks: true, attests: true, tls: sha384 },
  { name: 'mutual, answers once the peer is accepted', asks: true, attests: true, holdBack: true },
  { name: 'attester, by name', attests: true, byName: true },
  { name: 'attester, HELLO in another spelling', attests: true, fault: { hello: () => Buffer.from('01000008a302f501f4001801', 'hex') } },
  { name: 'attester, CMW in JSON', attests: true, json: true },
  { name: 'attester, one byte at a time', attests: true, slow: true },
  ...['P-384', 'P-521', 'Ed25519', 'RSA', 'RSA-SHA512', 'RSA-PSS'].map((key) => ({ name: `attester, ${key}`, attests: true, key })),
];

// World is what all cases share: the binary, its state, and its running servers.
export class World {
  constructor(binary, folder) {
    this.binary = binary;
    this.folder = folder;
    this.servers = new Map();
  }

  // server gives the expat serve with these flags, started at its first use.
  async server(...flags) {
    const name = flags.join(' ');
    if (!this.servers.has(name)) this.servers.set(name, await Server.start(this.binary, this.folder, flags));
    return this.servers.get(name);
  }

  get state() {
    this.read ??= readState(this.folder);
    return this.read;
  }

  async stop() {
    for (const s of this.servers.values()) deepStrictEqual(await s.stop(), { code: 0 });
  }

  options(role, c) {
    const attests = c.attests ? { identity: makeIdentity(this.state, role, c.key), device: makeTee(this.state, role) } : {};
    return { role, state: this.state, asks: c.asks ?? false, json: c.json, holdBack: c.holdBack, fault: c.fault ?? {}, ...attests };
  }
}

function serveFlags({ asks, attests, lie }) {
  const flags = asks ? ['--attester', 'simulated'] : [];
  if (attests) flags.push('--verify');
  return lie === undefined ? flags : [...flags, '--lie', lie];
}

function slowly(link) {
  link.socket.setNoDelay(true);
  const write = link.write.bind(link);
  link.write = (bytes) => bytes.forEach((b) => write(Buffer.from([b])));
}

// clientTalks has Node connect to expat serve.
async function clientTalks(world, c) {
  const server = await world.server(...serveFlags(c));
  const link = await dial(server.address, world.state, c.tls);
  if (c.slow) slowly(link);
  await new Side(link, world.options('client', c)).run();
  link.write(Buffer.from(message));
  strictEqual(String(await link.bytes(message.length)), message);
  strictEqual(link.tickets, 0, 'the server sent a session ticket [E-1]');
  await link.close();
  const accepted = await server.log();
  strictEqual(accepted.msg, 'accepted');
  if (c.attests) strictEqual(accepted.instance, world.state.reference.client.instance);
  strictEqual((await server.log()).msg, 'ended');
}

// serverTalks has expat connect connect to Node.
async function serverTalks(world, c) {
  await world.server('--attester', 'simulated'); // makes the state
  const here = await listen(makeIdentity(world.state, 'server'), c.tls);
  const flags = c.asks ? ['--attester', 'simulated', '--message', message] : ['--message', message];
  const address = c.byName ? here.address.replace('127.0.0.1', 'localhost') : here.address;
  const there = runConnect(world.binary, world.folder, address, flags);
  const link = await here.link;
  here.close();
  strictEqual(link.socket.isSessionReused(), false, 'the client resumed a session [E-3]');
  if (c.slow) slowly(link);
  const side = new Side(link, world.options('server', c));
  await side.run();
  strictEqual(side.exchange.peer.request.serverName, c.byName ? 'localhost' : null);
  link.write(await link.bytes(message.length));
  await link.until(() => (link.ended ? true : null));
  await link.close();
  const { exit, said, stderr } = await there;
  deepStrictEqual([exit, said.outcome, said.reply], [0, 'accepted', message], stderr);
  strictEqual(said.server.instance, world.state.reference.server.instance);
}

// What a lie of the other implementation is refused for.
const lies = {
  'wrong-nonce': 'binding', 'wrong-key': 'binding', 'tampered-claims': 'evidence', 'debug-on': 'appraisal',
  'old-firmware': 'appraisal', 'modified-software': 'appraisal', 'foreign-key': 'appraisal',
};

// refusedHere runs a side that is to be refused, or to refuse, and gives why.
async function refusedHere(side) {
  try {
    await side.run();
  } catch (e) {
    if (e instanceof Refused) return e;
    throw e;
  }
  throw new Error('the exchange opened');
}

async function lyingServer(world, lie, reason) {
  const server = await world.server(...serveFlags({ asks: true, lie }));
  const link = await dial(server.address, world.state);
  const e = await refusedHere(new Side(link, world.options('client', { asks: true })));
  await link.close();
  const log = await server.log();
  deepStrictEqual([e.reason, e.code, log.step, log.side, log.alert], [reason, 7, 'result', 'peer', codeNames[7]], e.message);
}

async function lyingClient(world, lie, reason) {
  await world.server('--attester', 'simulated');
  const here = await listen(makeIdentity(world.state, 'server'));
  const there = runConnect(world.binary, world.folder, here.address, ['--attester', 'simulated', '--lie', lie, '--message', 'x']);
  const link = await here.link;
  here.close();
  const e = await refusedHere(new Side(link, world.options('server', { asks: true, attests: true })));
  await link.close();
  const { exit, said, stderr } = await there;
  deepStrictEqual([e.reason, e.code, exit, said.step, said.alert], [reason, 7, 1, 'result', codeNames[7]], stderr);
}

// badOptions are those of a Side that does what the fault says.
function badOptions(world, role, f) {
  const options = world.options(role, { attests: true, asks: f.mutual, fault: f.fault });
  if (f.rogueCa) options.identity = makeIdentity(rogueCa(world.state), role);
  if (f.wrongRole) options.identity = makeIdentity(world.state, role === 'client' ? 'server' : 'client');
  if (f.rogueVendor) options.device = makeTee(rogueVendor(world.state), role);
  return options;
}

function rogueCa(state) {
  return { ...state, caKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey };
}

// rogueVendor names the true root and CA; another key certifies its devices.
function rogueVendor(state) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...state, vendor: { ...state.vendor, privateKey } };
}

// outcomeOf gives what Node sees of a bad conversation on the wire.
async function outcomeOf(link, side, f) {
  let seen = { frame: null };
  if (f.opensHere) {
    // The victim closes at once: its own verdict may be under way, or lost.
    await side.run().catch((e) => {
      if (!e.message.includes('the peer closed')) throw e;
    });
    await link.until(() => (link.ended ? true : null));
    strictEqual(link.pending.length, 0, 'application bytes came');
  } else {
    const e = await refusedHere(side);
    seen = { frame: e.peerFrame ?? e.message, code: e.peerCode };
  }
  await link.close();
  return seen;
}

const wire = ({ frame, code }) => (frame === null ? { frame } : { frame, code });

async function badClient(world, f) {
  const server = await world.server('--attester', 'simulated', '--verify');
  const link = await dial(server.address, world.state);
  const seen = await outcomeOf(link, new Side(link, badOptions(world, 'client', f)), f);
  const { msg, step, alert } = await server.log();
  const wanted = { ...wire(f.sees), msg: 'refused', step: f.sees.step, alert: codeNames[f.sees.code] };
  deepStrictEqual({ ...seen, msg, step, alert }, wanted);
}

async function badServer(world, f) {
  await world.server('--attester', 'simulated');
  const here = await listen(makeIdentity(world.state, 'server'));
  const flags = f.mutual ? ['--attester', 'simulated'] : [];
  const there = runConnect(world.binary, world.folder, here.address, [...flags, '--message', 'x']);
  const link = await here.link;
  here.close();
  const seen = await outcomeOf(link, new Side(link, badOptions(world, 'server', f)), f);
  const { exit, said } = await there;
  const outcome = f.sees.exit === 1 ? 'refused' : 'failed';
  const wanted = { ...wire(f.sees), outcome, step: f.sees.step, alert: codeNames[f.sees.code], exit: f.sees.exit };
  deepStrictEqual({ ...seen, outcome: said.outcome, step: said.step, alert: said.alert, exit }, wanted);
}

export function allCases(world) {
  const out = [];
  const add = (name, run) => out.push({ name, run });
  for (const c of conversations) add(`client: ${c.name}`, () => clientTalks(world, c));
  for (const c of conversations.filter((x) => x.attests)) add(`server: ${c.name}`, () => serverTalks(world, c));
  for (const [lie, reason] of Object.entries(lies)) {
    add(`client refuses the lie ${lie}`, () => lyingServer(world, lie, reason));
    add(`server refuses the lie ${lie}`, () => lyingClient(world, lie, reason));
  }
  for (const f of faults) {
    add(`bad client: ${f.name}`, () => badClient(world, f));
    add(`bad server: ${f.name}`, () => badServer(world, f));
  }
  for (const [name, run] of Object.entries(strangers)) add(name, () => run(world));
  return out;
}
