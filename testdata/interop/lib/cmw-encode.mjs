// Encoding of Conceptual Message Wrappers (RFC 9999) in deterministic CBOR and JSON.

import * as cbor from './cbor.mjs';

function toNode(tree) {
  if (tree.kind === 'tag') return cbor.tag(tree.tag, cbor.bytes(tree.value));
  if (tree.kind === 'record') {
    const type = tree.contentFormat === null ? cbor.text(tree.mediaType) : cbor.int(tree.contentFormat);
    const indicator = tree.indicator === 0 ? [] : [cbor.int(tree.indicator)];
    return cbor.array(type, cbor.bytes(tree.value), ...indicator);
  }
  const entries = tree.items.map(({ label, message }) => [
    typeof label === 'bigint' ? cbor.int(label) : cbor.text(label),
    toNode(message),
  ]);
  if (tree.collectionType !== null) entries.push([cbor.text('__cmwc_t'), cbor.text(tree.collectionType)]);
  return cbor.map(...entries);
}

export function encodeCbor(tree) {
  return cbor.encode(toNode(tree));
}

// encodeJson gives null for what JSON cannot say: a tag, an integer label, or a
// Content-Format without a known media type.
export function encodeJson(tree) {
  const text = jsonText(tree);
  return text === null ? null : Buffer.from(text, 'utf8');
}

function jsonText(tree) {
  if (tree.kind === 'tag') return null;
  if (tree.kind === 'record') {
    if (tree.mediaType === null) return null;
    const elements = [tree.mediaType, tree.value.toString('base64url')];
    if (tree.indicator !== 0) elements.push(tree.indicator);
    return JSON.stringify(elements);
  }
  const members = [];
  for (const { label, message } of tree.items) {
    const value = jsonText(message);
    if (typeof label === 'bigint' || value === null) return null;
    members.push([label, value]);
  }
  if (tree.collectionType !== null) members.push(['__cmwc_t', JSON.stringify(tree.collectionType)]);
  members.sort(([a], [b]) => Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))); // UTF-8 keeps code point order
  return `{${members.map(([k, v]) => `${JSON.stringify(k)}:${v}`).join(',')}}`;
}
