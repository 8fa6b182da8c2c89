// The cmw_attestation extension (draft-fossati-seat-expat, Section 3).

import { decodeCmw, leavesOf } from './cmw.mjs';
import { ext, hasDuplicates } from './handshake.mjs';
import { sameMediaType } from './mediatype.mjs';
import { demand, Reader, Refused, refuse, vector } from './wire.mjs';

const indicators = { evidence: 4, attestationResult: 8 };

export function buildAttestation(cmwData) {
  return { type: ext.cmwAttestation, data: vector(2, cmwData) };
}

// extractAttestation gives the CMW that an authenticator carries, and its leaves.
//
//   offer    extension_data in the request, null if the request has none
//   entries  of Certificate, leaf first, each the list of its extensions
//   accept   media types that the relying party takes
export function extractAttestation({ offer, entries, accept }) {
  demand(offer === null || offer.length === 0, 'offer-not-empty');
  demand(!entries.some(hasDuplicates), 'illegal-extension');
  const found = entries.map((list) => list.find((e) => e.type === ext.cmwAttestation));
  demand(offer !== null || found.every((e) => e === undefined), 'not-offered');
  demand(found.slice(1).every((e) => e === undefined), 'placement');
  demand(found[0] !== undefined, 'missing');

  const r = new Reader(found[0].data, 'length-prefix');
  const cmwData = r.vector(2, 1, 0xffff);
  r.done();
  const leaves = leavesOf(decodeOr(cmwData));
  for (const leaf of leaves) {
    const known = [0, undefined, indicators.evidence, indicators.attestationResult].includes(leaf.indicator);
    demand(known, 'message-kind', `indicator ${leaf.indicator}`);
  }
  for (const leaf of leaves) {
    const taken = leaf.mediaType !== null && accept.some((a) => sameMediaType(a, leaf.mediaType));
    demand(taken, 'media-type', 'not among those accepted');
  }
  return { cmwData, leaves };
}

function decodeOr(cmwData) {
  try {
    return decodeCmw(cmwData);
  } catch (e) {
    if (e instanceof Refused) refuse('cmw', e.message);
    throw e;
  }
}
