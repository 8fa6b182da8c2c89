// What a bad peer does, in either role, and how the other implementation has to
// refuse it: the frame and code that are seen on the wire, the step at which it
// refused by its own account, and the exit code of expat connect.

import { randomBytes } from 'node:crypto';
import * as cbor from '../lib/cbor.mjs';
import { otherSide } from '../lib/exchange.mjs';
import { frameTypes, writeFrame, writeHello, writeResult } from '../lib/frames.mjs';
import { buildRequest, usualExtensions } from '../lib/request.mjs';
import * as hs from '../lib/handshake.mjs';

const result = (code, step, exit = 1) => ({ frame: 'RESULT', code, step, exit });
const alert = (code, step, exit = 3) => ({ frame: 'ALERT', code, step, exit });

const after = (extra) => ({ hello: (frame) => Buffer.concat([frame, extra]) });
const hello = (...pairs) => ({ hello: () => writeFrame(frameTypes.hello, cbor.encode(cbor.map(...pairs))) });
const claims = (change) => ({ claims: change });
const offer = { type: hs.ext.cmwAttestation, data: Buffer.alloc(0) };
const helloPairs = [[cbor.int(0), cbor.int(1)], [cbor.int(1), cbor.bool(false)], [cbor.int(2), cbor.bool(true)]];

function flipLast(frame) {
  const out = Buffer.from(frame);
  out[out.length - 1] ^= 1;
  return out;
}

// otherRequest is a request that nobody sent on this connection.
function otherRequest(side, context) {
  const sender = side.exchange.peerSide;
  return buildRequest(sender, context, usualExtensions({ sender, serverName: 'localhost' }));
}

export const faults = [
  { name: 'wrong binder', sees: result(7, 'appraise'), fault: { binding: () => ({ binder: randomBytes(32) }) } },
  { name: 'binder of revision 03', sees: result(7, 'appraise'), fault: { profile: 'expat-03' } },
  { name: 'evidence for another key', sees: result(7, 'appraise'), fault: { binding: () => ({ keyHash: randomBytes(32) }) } },
  { name: 'evidence changed after signing', sees: result(7, 'appraise'), fault: { token: flipLast } },
  { name: 'evidence of another vendor', sees: result(7, 'appraise'), rogueVendor: true, fault: {} },
  { name: 'key from outside the device', sees: result(7, 'appraise'), fault: claims({ keyProvenance: 2 }) },
  { name: 'debug enabled', sees: result(7, 'appraise'), fault: claims({ dbgstat: 0 }) },
  { name: 'an endorsement in place of evidence', sees: result(1, 'appraise'), fault: { indicator: 2 } },
  { name: 'a media type that was not asked for', sees: result(7, 'appraise'), fault: { mediaType: 'application/eat+cwt' } },
  {
    name: 'scheme of another curve',
    sees: result(5, 'validate'),
    fault: { parameters: () => ({ scheme: 0x0503 }) },
  },
  { name: 'no cmw_attestation', sees: result(6, 'appraise'), fault: { extensions: () => [] } },
  {
    name: 'cmw_attestation without a length',
    sees: result(1, 'appraise'),
    fault: { extensions: ([e]) => [{ type: e.type, data: e.data.subarray(2) }] },
  },
  {
    name: 'an extension that was not offered',
    sees: result(2, 'validate', 3),
    fault: { extensions: (all) => [...all, { type: 0xfe77, data: Buffer.alloc(0) }] },
  },
  {
    name: 'an extension twice',
    sees: result(1, 'validate', 3),
    fault: { extensions: ([e]) => [e, e] },
  },
  {
    name: 'eleven certificates',
    sees: result(10, 'validate', 3),
    fault: { parameters: (_, side) => ({ chain: Array(11).fill(side.o.identity.chain[0]) }) },
  },
  { name: 'certificate of an unknown CA', sees: result(5, 'validate'), rogueCa: true, fault: {} },
  {
    name: 'certificate for the other role',
    sees: result(5, 'validate'),
    wrongRole: true,
    fault: {},
  },
  {
    name: 'empty authenticator',
    sees: result(9, 'validate'),
    fault: { authenticator: (_, side) => writeFrame(frameTypes.authenticator, side.refusal(side.exchange.peer.request)) },
  },
  {
    name: 'authenticator of another request',
    sees: result(3, 'validate', 3),
    fault: {
      parameters: (_, side) => {
        const context = randomBytes(32);
        return { request: otherRequest(side, context), context };
      },
    },
  },
  {
    name: 'signed for another request of the same context',
    sees: result(4, 'validate'),
    fault: { parameters: ({ context }, side) => ({ request: otherRequest(side, context) }) },
  },
  {
    name: 'keys of the other side',
    sees: result(4, 'validate'),
    fault: { parameters: ({ sender }) => ({ sender: otherSide[sender] }) },
  },
  {
    name: 'keys of another connection',
    sees: result(4, 'validate'),
    fault: { parameters: () => ({ exporter: (label, context, length) => Buffer.alloc(length, 7) }) },
  },
  { name: 'wrong Finished', sees: result(4, 'validate'), fault: { authenticator: flipLast } },
  {
    name: 'bytes after Finished',
    sees: result(1, 'validate', 3),
    fault: { authenticator: (frame) => writeFrame(frameTypes.authenticator, Buffer.concat([frame.subarray(4), Buffer.alloc(1)])) },
  },
  { name: 'authenticator frame of 16 MiB', sees: alert(10, 'validate'), fault: { authenticator: () => Buffer.from('03ffffff', 'hex') } },
  { name: 'frame of an unknown type', sees: alert(13, 'validate'), fault: after(Buffer.from('0900000100', 'hex')) },
  { name: 'application data early', sees: alert(13, 'validate'), fault: after(Buffer.from('GET / HTTP/1.1\r\n\r\n')) },
  { name: 'DATA without mux', sees: alert(13, 'validate'), fault: after(writeFrame(frameTypes.data, Buffer.from('secret'))) },
  { name: 'HELLO twice', sees: alert(13, 'validate'), fault: { hello: (frame) => Buffer.concat([frame, frame]) } },
  { name: 'RESULT for nothing', sees: alert(13, 'validate'), fault: after(writeResult(0)) },
  {
    name: 'REQUEST that HELLO did not announce',
    sees: alert(13, 'validate'),
    fault: after(writeFrame(frameTypes.request, Buffer.from('0d000000', 'hex'))),
  },
  { name: 'no HELLO', sees: alert(13, 'hello'), fault: { hello: () => writeResult(0) } },
  { name: 'HELLO with null', sees: alert(1, 'hello'), fault: hello(...helloPairs.slice(0, 2), [cbor.int(2), { t: 'simple', v: null }]) },
  { name: 'HELLO of version 2', sees: alert(1, 'hello'), fault: hello([cbor.int(0), cbor.int(2)], ...helloPairs.slice(1)) },
  { name: 'cannot attest', sees: alert(6, 'hello', 1), fault: { hello: () => writeHello({ willRequest: false, canAttest: false }) } },
  {
    name: 'request with our context',
    sees: alert(3, 'request'),
    mutual: true,
    fault: { mirror: (side) => buildMirror(side, side.exchange.peer.request.context) },
  },
  {
    name: 'request of the other side',
    sees: alert(13, 'request'),
    mutual: true,
    fault: { request: (frame, side) => writeFrame(frameTypes.request, otherRequest(side, randomBytes(32))) },
  },
  {
    name: 'request without signature_algorithms',
    sees: alert(1, 'request'),
    mutual: true,
    fault: { request: (frame, { o }) => writeFrame(frameTypes.request, buildRequest(o.role, randomBytes(32), [offer])) },
  },
  {
    name: 'RESULT 7 for a good peer',
    sees: { frame: null, code: 7, step: 'result', exit: 1 },
    mutual: true,
    opensHere: true,
    fault: { result: () => writeResult(7) },
  },
];

function buildMirror({ o }, context) {
  return writeFrame(
    frameTypes.request,
    buildRequest(o.role, context, usualExtensions({ sender: o.role, serverName: 'localhost' })),
  );
}
