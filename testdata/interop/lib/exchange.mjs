// The state of one exchange of expat/1 (docs/protocol.md, Section 3), for either
// role: what was sent is recorded, what is received is judged.

import { extractAttestation } from './attestation.mjs';
import { bind } from './binding.mjs';
import { judgeBinding, verifyEvidence } from './evidence.mjs';
import { readFrame, frameTypes } from './frames.mjs';
import { ext } from './handshake.mjs';
import { parseRequest } from './request.mjs';
import { validate } from './validate.mjs';
import { demand, Refused, refuse } from './wire.mjs';

export const otherSide = { client: 'server', server: 'client' };

// Codes of ALERT and RESULT (docs/protocol.md, Section 4) by the reason of the
// refusal, and by what is behind it where that matters.
const codes = {
  truncated: 13, 'unknown-type': 13, 'too-large': 10, malformed: 1, order: 13, 'nobody-asks': 13,
  'cannot-attest': 6, request: 1, 'context-reuse': 3, refused: 9, reflected: 4, evidence: 7, binding: 7,
  'accepted-refusal': 13, 'alert-zero': 13, incomplete: 13,
};
const detailCodes = {
  authenticator: {
    limit: 10, 'unsupported-extension': 2, 'context-mismatch': 3, signature: 4, finished: 4, certificate: 5, chain: 5, scheme: 5,
  },
  attestation: { 'not-offered': 2, missing: 6, 'media-type': 7 },
  request: { 'unexpected-message': 13 },
};

// codeOf gives the code to send for a refusal; null where the other side spoke last.
export function codeOf(refusal) {
  if (['rejected', 'alert'].includes(refusal.reason)) return null;
  return detailCodes[refusal.reason]?.[refusal.cause?.reason] ?? codes[refusal.reason] ?? 1;
}

// within runs a step whose refusals all count as one reason of the exchange. A
// reason in `apart` becomes what stands there.
function within(reason, step, apart = {}) {
  try {
    return step();
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    throw Object.assign(new Refused(apart[e.reason] ?? reason, e.message), { cause: e });
  }
}

// Exchange is one side. Configuration:
//
//   self, exporter, hash, profile
//   hello             what our HELLO says, as readFrame gives it
//   ownSpki           of the key we authenticate with, or null
//   maxAuthenticator  our cap
//   roots, serverName, evidenceRoots, time   to judge the peer by
export class Exchange {
  constructor(config) {
    this.config = config;
    this.peerSide = otherSide[config.self];
    this.own = { hello: config.hello, request: null, authenticator: null, result: null };
    this.peer = { hello: null, request: null, authenticator: null, result: null };
    this.usedContexts = [];
  }

  get isOpen() {
    const { own, peer } = this;
    if (peer.hello === null) return false;
    const judged = !own.hello.willRequest || own.result?.code === 0;
    const accepted = !peer.hello.willRequest || peer.result?.code === 0;
    return judged && accepted;
  }

  // lifetime is the shorter of both verdicts in seconds, or null.
  get lifetime() {
    const all = [this.own.result?.lifetime, this.peer.result?.lifetime].filter((s) => typeof s === 'number');
    return all.length === 0 ? null : Math.min(...all);
  }

  // sent records a frame of ours.
  sent(bytes) {
    const f = readFrame(bytes, 0xffffff);
    if (f.type === frameTypes.request) {
      this.own.request = parseRequest({ receiver: this.peerSide, message: f.payload, usedContexts: [] });
      this.usedContexts.push(this.own.request.context);
    }
    if (f.type === frameTypes.authenticator) this.own.authenticator = { empty: f.payload[0] === 20 };
    if (f.type === frameTypes.result) this.own.result = f.result;
  }

  // received judges a frame of the peer and gives it, with what it holds.
  received(bytes) {
    const f = readFrame(bytes, this.config.maxAuthenticator);
    if (f.type === frameTypes.alert) refuse(f.alert.code === 0 ? 'alert-zero' : 'alert', `code ${f.alert.code}`);
    demand((this.peer.hello === null) === (f.type === frameTypes.hello), 'order', `frame of type ${f.type}`);
    switch (f.type) {
      case frameTypes.hello:
        this.onHello(f.hello);
        break;
      case frameTypes.request:
        this.onRequest(f.payload);
        break;
      case frameTypes.authenticator:
        this.onAuthenticator(f.payload);
        break;
      case frameTypes.result:
        this.onResult(f.result);
        break;
      default:
        refuse('order', 'application data before the exchange is done');
    }
    return f;
  }

  onHello(hello) {
    demand(this.own.hello.willRequest || hello.willRequest, 'nobody-asks');
    demand(!this.own.hello.willRequest || hello.canAttest, 'cannot-attest');
    this.peer.hello = hello;
  }

  onRequest(message) {
    demand(this.peer.hello.willRequest && this.peer.request === null, 'order', 'REQUEST');
    const receiver = this.config.self;
    const request = within('request', () => parseRequest({ receiver, message, usedContexts: this.usedContexts }), {
      'context-reuse': 'context-reuse',
    });
    this.usedContexts.push(request.context);
    this.peer.request = request;
  }

  onAuthenticator(bytes) {
    demand(this.own.request !== null && this.peer.authenticator === null, 'order', 'AUTHENTICATOR');
    this.peer.authenticator = this.judge(bytes);
  }

  onResult(result) {
    demand(this.own.authenticator !== null && this.peer.result === null, 'order', 'RESULT');
    demand(result.code === 0, 'rejected', `code ${result.code}`);
    demand(!this.own.authenticator.empty, 'accepted-refusal');
    this.peer.result = result;
  }

  // judge validates an authenticator, its attestation and the Evidence in it.
  judge(bytes) {
    const { request } = this.own;
    const c = this.config;
    const proof = within(
      'authenticator',
      () => validate({ ...c, sender: this.peerSide, request: request.whole, usedContexts: [], authenticator: bytes }),
      { refused: 'refused' },
    );
    const { spki } = proof.leaf;
    demand(c.ownSpki === null || !spki.equals(c.ownSpki), 'reflected', 'the peer holds our own key');
    const { leaves } = within('attestation', () =>
      extractAttestation({
        offer: request.extensions.find((e) => e.type === ext.cmwAttestation)?.data ?? null,
        entries: proof.entries.map((e) => e.extensions),
        accept: this.own.hello.mediaTypes,
      }),
    );
    const binding = within('binding', () => bind({ ...c, context: request.context, spki }));
    const evidence = leaves.map((leaf) => this.judgeLeaf(leaf, binding));
    return { proof, spki, binding, context: request.context, evidence };
  }

  judgeLeaf(leaf, binding) {
    const { evidenceRoots: roots, time } = this.config;
    const evidence = within('evidence', () =>
      verifyEvidence({ mediaType: leaf.mediaType, evidence: leaf.value, roots, time }),
    );
    within('binding', () => judgeBinding(evidence, binding));
    return evidence;
  }
}
