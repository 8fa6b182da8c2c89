// One TLS connection over Node's tls, as a stream of frames.

import { connect, createServer } from 'node:tls';
import { once } from 'node:events';
import { takeFrame } from '../lib/frames.mjs';
import { Refused, refuse } from '../lib/wire.mjs';
import { pem } from './state.mjs';

export const alpn = 'expat/1';

// Link reads frames, later application bytes, and has the exporter.
export class Link {
  constructor(socket) {
    this.socket = socket;
    this.pending = Buffer.alloc(0);
    this.ended = false;
    this.wake = () => {};
    this.tickets = 0;
    socket.on('session', () => this.tickets++);
    socket.on('data', (b) => this.arrived(Buffer.concat([this.pending, b])));
    for (const event of ['end', 'close', 'error']) socket.on(event, () => this.arrived(this.pending, true));
  }

  arrived(pending, ended = this.ended) {
    this.pending = pending;
    this.ended = ended;
    this.wake();
  }

  get hash() {
    return this.socket.getCipher().name.endsWith('SHA384') ? 'sha384' : 'sha256';
  }

  get exporter() {
    return (label, context, length) => this.socket.exportKeyingMaterial(length, label, context);
  }

  // until waits for read to give something, or for the end.
  async until(read, text) {
    for (;;) {
      const found = read();
      if (found !== null) return found;
      if (this.ended) refuse('ended', text);
      await new Promise((resolve) => {
        this.wake = resolve;
      });
    }
  }

  // frame gives the next frame as bytes.
  frame(maxAuthenticator) {
    return this.until(() => {
      const f = takeFrame(this.pending, maxAuthenticator);
      if (f === null) return null;
      const bytes = this.pending.subarray(0, f.size);
      this.pending = this.pending.subarray(f.size);
      return bytes;
    }, 'the peer closed');
  }

  // bytes gives n application bytes.
  bytes(n) {
    return this.until(() => {
      if (this.pending.length < n) return null;
      const out = this.pending.subarray(0, n);
      this.pending = this.pending.subarray(n);
      return out;
    }, 'the peer closed');
  }

  write(bytes) {
    if (!this.socket.destroyed && bytes.length > 0) this.socket.write(bytes);
  }

  async close() {
    const closed = new Promise((resolve) => {
      this.socket.once('close', resolve);
    });
    this.socket.end();
    if (!this.socket.closed) await Promise.race([closed, expired(2000)]);
    this.socket.destroy();
  }
}

function expired(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

// dial connects to `expat serve`. options go to tls.connect.
export async function dial(address, state, options = {}) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const socket = connect({
    host,
    port: Number(port),
    servername: 'localhost',
    ca: pem(state.root.der),
    ALPNProtocols: [alpn],
    minVersion: 'TLSv1.3',
    ...options,
  });
  await once(socket, 'secureConnect');
  return checked(new Link(socket));
}

function checked(link) {
  if (link.socket.alpnProtocol === alpn) return link;
  link.socket.destroy();
  return refuse('alpn', `the peer speaks ${link.socket.alpnProtocol}`);
}

// listen serves one connection on loopback: it gives the address, and a promise
// of the link.
export async function listen(identity, options = {}) {
  const server = createServer({
    key: identity.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: identity.chain.map(pem).join(''),
    ALPNProtocols: [alpn],
    minVersion: 'TLSv1.3',
    ...options,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const link = new Promise((resolve, reject) => {
    server.once('secureConnection', (socket) => resolve(new Link(socket)));
    server.once('tlsClientError', (e) => reject(new Refused('tls', e.message)));
  });
  link.catch(() => {});
  return { address: `127.0.0.1:${server.address().port}`, link: link.then(checked), close: () => server.close() };
}
