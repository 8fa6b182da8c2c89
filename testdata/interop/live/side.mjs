// One side of expat/1 on a live connection, in either role. It can be told to
// misbehave at any step.

import { randomBytes } from 'node:crypto';
import { buildAttestation } from '../lib/attestation.mjs';
import { buildAuthenticator, buildEmpty } from '../lib/authenticator.mjs';
import { bind } from '../lib/binding.mjs';
import { encodeCbor, encodeJson } from '../lib/cmw-encode.mjs';
import { attest } from '../lib/device.mjs';
import { mediaType } from '../lib/evidence.mjs';
import { codeOf, Exchange } from '../lib/exchange.mjs';
import { defaultMaxAuthenticator, frameTypes, writeAlert, writeFrame, writeHello, writeResult } from '../lib/frames.mjs';
import { buildRequest, usualExtensions } from '../lib/request.mjs';
import { Refused } from '../lib/wire.mjs';
import { appraise } from './state.mjs';

const evidenceIndicator = 4;

// Side has options
//
//   role, state
//   asks       demand that the peer attests
//   identity   to authenticate with, and
//   device     to attest with; without them requests are refused
//   json       send the CMW in JSON
//   holdBack   answer only after the peer was accepted
//   fault      what to do wrong: functions by step, see faults.mjs
export class Side {
  constructor(link, options) {
    this.link = link;
    this.o = { fault: {}, asks: false, device: null, identity: null, ...options };
    const { role, state, asks, identity, device } = this.o;
    this.said = { willRequest: asks, canAttest: device !== null, mediaTypes: asks ? [mediaType] : [] };
    this.exchange = new Exchange({
      self: role,
      exporter: link.exporter,
      hash: link.hash,
      profile: 'expat-04',
      hello: this.said,
      ownSpki: identity === null ? null : identity.leaf.spki,
      maxAuthenticator: defaultMaxAuthenticator,
      roots: [state.root],
      serverName: role === 'client' ? 'localhost' : null,
      evidenceRoots: [state.evidenceRoot],
      time: Date.now(),
    });
  }

  // send records a frame and writes it, or what the fault makes of it.
  send(step, frame) {
    this.exchange.sent(frame);
    this.link.write(this.o.fault[step]?.(frame, this) ?? frame);
  }

  // run goes through the exchange until this side is open. On a refusal it tells
  // the peer, and throws; the code that the peer gave is then in e.peerCode.
  async run() {
    try {
      this.send('hello', writeHello({ ...this.said, models: 1 }));
      if (this.o.asks && this.o.fault.mirror === undefined) this.ask();
      while (!this.exchange.isOpen) this.onFrame(await this.link.frame(defaultMaxAuthenticator));
    } catch (e) {
      if (e instanceof Refused) this.tell(e);
      throw e;
    }
  }

  ask() {
    const { role } = this.o;
    const extensions = usualExtensions({ sender: role, serverName: 'localhost' });
    this.send('request', writeFrame(frameTypes.request, buildRequest(role, randomBytes(32), extensions)));
  }

  onFrame(bytes) {
    this.lastFrame = bytes;
    const f = this.exchange.received(bytes);
    if (f.type === frameTypes.request && this.o.fault.mirror !== undefined) this.link.write(this.o.fault.mirror(this));
    if (f.type === frameTypes.request && !this.o.holdBack) this.answer();
    if (f.type === frameTypes.authenticator) {
      this.judge();
      if (this.o.holdBack && this.exchange.peer.request !== null) this.answer();
    }
    if (f.type === frameTypes.request && this.o.holdBack && this.exchange.own.result !== null) this.answer();
  }

  judge() {
    const { evidence } = this.exchange.peer.authenticator;
    const peer = this.exchange.peerSide;
    const wrong = evidence.flatMap(({ claims }) => appraise(this.o.state, peer, claims));
    if (wrong.length > 0) {
      throw Object.assign(new Refused('appraisal', wrong.join(' ')), { wrong });
    }
    this.send('result', writeResult(0, 3600));
  }

  answer() {
    const { request } = this.exchange.peer;
    const payload = this.o.device === null ? this.refusal(request) : this.authenticator(request, this.o.fault);
    this.send('authenticator', writeFrame(frameTypes.authenticator, payload));
  }

  base(request) {
    return {
      exporter: this.link.exporter,
      hash: this.link.hash,
      sender: this.o.role,
      request: request.whole,
      context: request.context,
    };
  }

  refusal(request) {
    return buildEmpty(this.base(request));
  }

  // authenticator attests for a request. A fault can change the binding, the
  // claims, the CMW, the extensions and the parameters of the authenticator.
  authenticator(request, fault) {
    const { identity, device, json } = this.o;
    const base = this.base(request);
    const profile = fault.profile ?? 'expat-04';
    const right = bind({ ...base, profile, spki: identity.leaf.spki });
    const token = attest(device, { ...right, ...fault.binding?.(right) }, fault.claims ?? {});
    const record = {
      kind: 'record',
      mediaType: fault.mediaType ?? mediaType,
      contentFormat: null,
      value: fault.token?.(token) ?? token,
      indicator: fault.indicator ?? evidenceIndicator,
    };
    const extension = buildAttestation(json ? encodeJson(record) : encodeCbor(record));
    const extensions = fault.extensions?.([extension]) ?? [extension];
    return buildAuthenticator({ ...base, ...identity, extensions, ...fault.parameters?.(base, this) });
  }

  // tell ends the exchange towards the peer as docs/protocol.md, Section 4 says:
  // a verdict on an authenticator in RESULT, all else in ALERT.
  tell(e) {
    if (e.reason === 'ended') return;
    if (['rejected', 'alert'].includes(e.reason)) {
      const payload = this.lastFrame.subarray(4);
      e.peerCode = this.lastFrame[0] === frameTypes.alert ? payload.readUInt16BE(0) : Number(/\d+$/.exec(e.message));
      e.peerFrame = this.lastFrame[0] === frameTypes.alert ? 'ALERT' : 'RESULT';
      return;
    }
    const verdict = this.lastFrame[0] === frameTypes.authenticator && this.exchange.own.request !== null;
    e.code = e.reason === 'appraisal' ? 7 : codeOf(e);
    this.link.write(verdict ? writeResult(e.code) : writeAlert(e.code));
  }
}
