// Media types with parameters (RFC 9193, Section 3), and the CoAP Content-Formats
// (RFC 7252, Section 12.3) that this project knows.

const name = "[A-Za-z0-9][A-Za-z0-9!#$&\\-^_.+]{0,126}";
const token = "[A-Za-z0-9!#$%&'*+\\-.^_`|~]+";
const parameterName = "[A-Za-z0-9!#$%&'+\\-.^_`|~]+";
const quoted = '"[ !#-\\[\\]-~]*"';
const whole = new RegExp(`^(${name}/${name})((?: *; *${parameterName}=(?:${token}|${quoted}))*)$`);
const parameter = new RegExp(` *; *(${parameterName})=(${token}|${quoted})`, 'g');

// parseMediaType gives {type, parameters}, both comparable, or null.
export function parseMediaType(text) {
  const m = whole.exec(text);
  if (m === null) return null;
  const parameters = new Map();
  for (const [, key, value] of m[2].matchAll(parameter)) {
    const k = key.toLowerCase();
    if (parameters.has(k)) return null;
    parameters.set(k, value.startsWith('"') ? value.slice(1, -1) : value);
  }
  return { type: m[1].toLowerCase(), parameters };
}

export function sameMediaType(a, b) {
  const [x, y] = [parseMediaType(a), parseMediaType(b)];
  if (x === null || y === null || x.type !== y.type || x.parameters.size !== y.parameters.size) return false;
  return [...x.parameters].every(([k, v]) => y.parameters.get(k) === v);
}

export const contentFormats = new Map([
  [263, 'application/eat+cwt'],
  [264, 'application/eat+jwt'],
  [265, 'application/eat-bun+cbor'],
  [266, 'application/eat-bun+json'],
  [267, 'application/eat-ucs+cbor'],
  [268, 'application/eat-ucs+json'],
  [273, 'application/cmw+cbor'],
  [274, 'application/cmw+json'],
  [275, 'application/cmw+cose'],
  [276, 'application/cmw+jws'],
  [295, 'application/measured-component+cbor'],
  [296, 'application/measured-component+json'],
]);
