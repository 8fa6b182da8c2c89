// Conceptual Message Wrappers (RFC 9999): decoding of CBOR and JSON into one tree.
//
//   {kind: 'record', mediaType, contentFormat, value, indicator}
//   {kind: 'tag', tag, mediaType, contentFormat, value}
//   {kind: 'collection', collectionType, items: [{label: string | BigInt, message}]}
//
// mediaType and contentFormat are null where a message does not have them, an
// absent indicator is 0.

import { decode } from './cbor.mjs';
import { JsonReader } from './json.mjs';
import { contentFormats, parseMediaType } from './mediatype.mjs';
import { demand, refuse } from './wire.mjs';

const maxMessage = 65529;
const maxDepth = 4;
const maxLeaves = 16;
const typeLabel = '__cmwc_t';

const firstTag = 1668546817n;
const lastTag = 1668612095n;
const ambiguousTags = [1668547092n, 1668547093n];

export function decodeCmw(bytes) {
  demand(bytes.length > 0, 'empty');
  demand(bytes.length <= maxMessage, 'too-large', `${bytes.length} bytes`);
  const first = bytes[0];
  const compact = bytes.subarray(0, 3).toString('latin1') === 'eyJ';
  demand(first !== 0x84 && first !== 0xd2 && !compact, 'signed');
  const tree = first === 0x5b || first === 0x7b ? decodeJson(bytes) : decodeCbor(bytes);
  demand(depthOf(tree) <= maxDepth, 'too-deep');
  demand(leavesOf(tree).length <= maxLeaves, 'too-many-leaves');
  return tree;
}

// The first byte tells what a message is (RFC 9999, Section 3).
const firstByte = (b) => [0x82, 0x83, 0x9f, 0xda, 0xbf].includes(b) || (b >= 0xa0 && b <= 0xbb) || b >> 5 === 6;

function decodeCbor(bytes) {
  demand(firstByte(bytes[0]), 'syntax', 'neither record nor tag nor collection');
  const node = decode(bytes, {
    reason: 'syntax',
    trailing: 'trailing',
    tooDeep: 'too-deep',
    duplicate: 'duplicate-label',
    indefinite: true,
    strings: true,
    badText: '\ufffd',
  });
  return fromCbor(node);
}

function fromCbor(node) {
  demand(node.head !== 0x84 && node.head !== 0xd2, 'signed');
  switch (node.t) {
    case 'array':
      demand(firstByte(node.head), 'syntax', 'head of a record');
      return recordFromCbor(node.v);
    case 'map':
      return collection(node.v.map(([k, v]) => [labelFromCbor(k), k, v]), fromCbor, (v) => (v.t === 'text' ? v.v : null));
    case 'tag':
      return tagFromCbor(node);
    default:
      return refuse('syntax', 'neither record nor tag nor collection');
  }
}

function recordFromCbor(elements) {
  demand(elements.length === 2 || elements.length === 3, 'syntax', `record of ${elements.length} elements`);
  const [type, value, indicator] = elements;
  let typed;
  if (type.t === 'int') {
    demand(type.v >= 0n && type.v <= 65535n, 'media-type', 'Content-Format');
    typed = byContentFormat(Number(type.v));
  } else {
    demand(type.t === 'text' && parseMediaType(type.v) !== null, 'media-type');
    typed = { mediaType: type.v, contentFormat: null };
  }
  let bits = 0;
  if (indicator !== undefined) {
    demand(indicator.t === 'int' && indicator.v >= 1n && indicator.v <= 31n, 'indicator');
    bits = Number(indicator.v);
  }
  return { kind: 'record', ...typed, value: bytesFromCbor(value), indicator: bits };
}

function byContentFormat(n) {
  return { mediaType: contentFormats.get(n) ?? null, contentFormat: n };
}

function bytesFromCbor(node) {
  demand(node.t === 'bytes', 'value', 'no byte string of definite length');
  demand(node.v.length > 0, 'empty-value');
  return node.v;
}

// tagFromCbor reads the tag form; the tag is TN() of RFC 9277, Appendix B.
function tagFromCbor({ head, n, v }) {
  const offset = n - firstTag;
  demand(head === 0xda && n >= firstTag && n <= lastTag && offset % 256n !== 255n, 'tag', `tag ${n}`);
  demand(!ambiguousTags.includes(n), 'ambiguous-tag', `tag ${n}`);
  const contentFormat = Number((offset / 256n) * 255n + (offset % 256n));
  return { kind: 'tag', tag: Number(n), ...byContentFormat(contentFormat), value: bytesFromCbor(v) };
}

function labelFromCbor(key) {
  if (key.t === 'int') {
    demand(key.v >= -(1n << 63n) && key.v < 1n << 63n, 'label', 'integer beyond 64 bits');
    return key.v;
  }
  demand(key.t === 'text', 'label', 'neither text nor integer');
  return checkedLabel(key.v);
}

function checkedLabel(text) {
  demand(/[^\p{Z}\p{C}]/u.test(text) && !text.includes('\ufffd'), 'label', 'nothing to see');
  return text;
}

// collection builds a collection from [label, key, value] triples; the key is of
// no further use. textOf gives the text of a value, or null.
function collection(entries, build, textOf) {
  let collectionType = null;
  const items = [];
  for (const [label, , value] of entries) {
    if (label === typeLabel) {
      collectionType = textOf(value);
      demand(collectionType !== null && isCollectionType(collectionType), 'collection-type');
    } else {
      items.push({ label, message: build(value) });
    }
  }
  demand(items.length > 0, 'empty-collection');
  return { kind: 'collection', collectionType, items };
}

// An absolute URI (RFC 3986, Section 4.3: no fragment) or a dotted OID.
const pchar = "(?:[A-Za-z0-9\\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})";
const ipLiteral = '\\[[0-9A-Fa-f:.]+\\]';
const userOrHost = "(?:[A-Za-z0-9\\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})";
const authority = `(?:(?:${userOrHost}|:)*@)?(?:${ipLiteral}|${userOrHost}*)(?::[0-9]*)?`;
const hierPart = `(?://${authority}(?:/${pchar}*)*|/(?:${pchar}+(?:/${pchar}*)*)?|${pchar}+(?:/${pchar}*)*|)`;
const absoluteUri = new RegExp(`^[A-Za-z][A-Za-z0-9+\\-.]*:${hierPart}(?:\\?(?:${pchar}|[/?])*)?$`);
const dottedOid = /^(?:[01]\.(?:[0-9]|[1-3][0-9])|2\.(?:0|[1-9][0-9]*))(?:\.(?:0|[1-9][0-9]*))*$/;

function isCollectionType(text) {
  return absoluteUri.test(text) || dottedOid.test(text);
}

function decodeJson(bytes) {
  const r = new JsonReader(bytes);
  const node = r.value();
  demand(r.at === r.text.length, 'trailing');
  return fromJson(node);
}

function fromJson(node) {
  if (node.t === 'string') demand(!node.v.startsWith('eyJ'), 'signed');
  if (node.t === 'array') return recordFromJson(node.v);
  demand(node.t === 'object', 'syntax', 'neither record nor collection');
  const member = (name) => node.v.some(([k, v]) => k === name && v.t === 'string');
  demand(!(member('payload') && member('signature')), 'signed');
  const names = node.v.map(([k]) => k);
  demand(new Set(names).size === names.length, 'duplicate-label');
  return collection(
    node.v.map(([k, v]) => [checkedLabel(k), k, v]),
    fromJson,
    (v) => (v.t === 'string' ? v.v : null),
  );
}

function recordFromJson(elements) {
  demand(elements.length === 2 || elements.length === 3, 'syntax', `record of ${elements.length} elements`);
  const [type, value, indicator] = elements;
  demand(type.t === 'string' && parseMediaType(type.v) !== null, 'media-type');
  let bits = 0;
  if (indicator !== undefined) {
    demand(indicator.t === 'number' && /^[0-9]+$/.test(indicator.v), 'indicator');
    bits = Number(indicator.v);
    demand(bits >= 1 && bits <= 31, 'indicator');
  }
  demand(value.t === 'string', 'value');
  const decoded = Buffer.from(value.v, 'base64url');
  demand(decoded.toString('base64url') === value.v, 'value', 'not base64url without padding');
  demand(decoded.length > 0, 'empty-value');
  return { kind: 'record', mediaType: type.v, contentFormat: null, value: decoded, indicator: bits };
}

export function depthOf(tree) {
  return tree.kind === 'collection' ? 1 + Math.max(...tree.items.map((i) => depthOf(i.message))) : 1;
}

// leavesOf lists records and tags, depth first in wire order.
export function leavesOf(tree) {
  return tree.kind === 'collection' ? tree.items.flatMap((i) => leavesOf(i.message)) : [tree];
}
