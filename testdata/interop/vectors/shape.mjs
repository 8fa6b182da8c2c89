// Closed shapes for the members of vector files: what a shape does not name is an
// error. A shape checks a JSON value and gives it as the library wants it.

import { unhex } from '../lib/wire.mjs';

export class ShapeError extends Error {}

function wrong(text) {
  throw new ShapeError(text);
}

export function object(members, optional = []) {
  return (value, where = 'value') => {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) wrong(`${where} is no object`);
    for (const name of Object.keys(value)) {
      if (!Object.hasOwn(members, name)) wrong(`${where} has an unknown member ${JSON.stringify(name)}`);
    }
    const out = {};
    for (const [name, shape] of Object.entries(members)) {
      if (Object.hasOwn(value, name)) out[name] = shape(value[name], `${where}.${name}`);
      else if (!optional.includes(name)) wrong(`${where} lacks ${name}`);
    }
    return out;
  };
}

export const bytes = (value, where) => {
  try {
    return unhex(value);
  } catch {
    return wrong(`${where} is not lower-case hex`);
  }
};

export const text = (value, where) => (typeof value === 'string' ? value : wrong(`${where} is no text`));
export const integer = (value, where) => (Number.isSafeInteger(value) ? value : wrong(`${where} is no integer`));
export const any = (value) => value;
export const nullable = (shape) => (value, where) => (value === null ? null : shape(value, where));

export const list = (shape) => (value, where) =>
  Array.isArray(value) ? value.map((v, i) => shape(v, `${where}[${i}]`)) : wrong(`${where} is no list`);

export const oneOf = (...words) => (value, where) => (words.includes(value) ? value : wrong(`${where} is ${JSON.stringify(value)}`));

// time reads RFC 3339 in UTC, whole seconds, and gives milliseconds.
export const time = (value, where) => {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) || Number.isNaN(Date.parse(value))) wrong(`${where} is no time`);
  return Date.parse(value);
};

export const formatTime = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');

const hash = oneOf('sha256', 'sha384');
const connection13 = object({ tls: oneOf('1.3'), hash, exporter_master_secret: bytes });
const connection12 = object({
  tls: oneOf('1.2'), hash, master_secret: bytes, client_random: bytes, server_random: bytes,
});

export const connection = (value, where) => (value?.tls === '1.2' ? connection12 : connection13)(value, where);
export const extension = object({ type: integer, data: bytes });
