// Validation of authenticators (RFC 9261, Section 7.4).

import {
  equalSecret, finishedData, readAuthenticator, refuseEmpty, schemeFits, secrets, signedContent,
} from './authenticator.mjs';
import { parseCertificate } from './certificate.mjs';
import * as hs from './handshake.mjs';
import { checkChain } from './path.mjs';
import { parseRequest } from './request.mjs';
import { keyKind, verify } from './signature.mjs';
import { demand } from './wire.mjs';

// Types that stand in requests only, although a request has them (IANA registry:
// CR without CT, and server_name).
const requestOnly = [0, 13, 47, 48, 50];

// validate checks an authenticator that `sender` made.
//
//   exporter, hash   of the connection
//   request          the request as sent, or null for a spontaneous one
//   clientHello      {signatureSchemes, extensions} for a spontaneous one
//   usedContexts     buffers
//   roots            parsed certificates
//   serverName       null if the sender is a client
//   time             in milliseconds
export function validate(input) {
  const { exporter, hash, sender } = input;
  demand(sender === 'server' || input.request !== null, 'unsolicited');
  const request = input.request === null
    ? null
    : parseRequest({ receiver: sender, message: input.request, usedContexts: [] });
  const a = readAuthenticator(input.authenticator, request !== null);
  const keys = secrets(exporter, hash, sender);
  if (a.empty) refuseEmpty(a, hash, keys, request);

  for (const e of a.entries) {
    const legal = !hs.hasDuplicates(e.extensions) && e.extensions.every((x) => !requestOnly.includes(x.type));
    demand(legal, 'illegal-extension');
  }
  checkContext(a.context, request, input.usedContexts);
  const offeredTypes = request === null ? input.clientHello.extensions : request.extensions.map((e) => e.type);
  for (const e of a.entries) {
    demand(e.extensions.every((x) => offeredTypes.includes(x.type)), 'unsupported-extension');
  }
  const proof = checkKeys(a, { hash, keys, request, clientHello: input.clientHello });
  const path = checkChain({ ...input, chain: proof.chain });
  return {
    context: a.context,
    scheme: a.scheme,
    entries: a.entries,
    leaf: proof.chain[0],
    path,
    ...keys,
    verifyHash: proof.verifyHash,
    finishedHash: proof.finishedHash,
    verifyData: proof.verifyData,
  };
}

function checkContext(context, request, usedContexts) {
  if (request !== null) {
    demand(request.context.equals(context), 'context-mismatch');
    return;
  }
  demand(!usedContexts.some((c) => c.equals(context)), 'context-reuse');
}

// checkKeys parses the certificates and checks signature and MAC, over the bytes
// as they were received.
function checkKeys(a, { hash, keys, request, clientHello }) {
  const chain = a.entries.map((e) => parseCertificate(e.der, 'certificate'));
  const kind = keyKind(chain[0].publicKey);
  demand(kind !== null, 'certificate', 'a key of this kind signs no authenticator');
  const offered = request === null ? clientHello.signatureSchemes : request.signatureSchemes;
  demand(schemeFits(a.scheme, offered, kind), 'scheme', `scheme ${a.scheme}, key ${kind}`);

  const requestBytes = request === null ? Buffer.alloc(0) : request.whole;
  const { verifyHash, content } = signedContent(hash, keys, requestBytes, a.certificate.whole);
  demand(verify(a.scheme, chain[0].publicKey, content, a.signature), 'signature');
  const right = finishedData(hash, keys, requestBytes, a.certificate.whole, a.verify.whole);
  demand(equalSecret(right.verifyData, a.verifyData), 'finished');
  return { chain, verifyHash, ...right };
}
