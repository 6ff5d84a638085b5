import { expect, test } from 'vitest';
import { readSettings } from '../src/server/settings.js';

test.each([
  ['PORT', 'http'],
  ['PORT', '65536'],
  ['PORT', '-1'],
  ['PORT', '80.5'],
  ['DRAIN_PER_SECOND', '0'],
  ['DRAIN_PER_SECOND', '1e3'],
  ['NODES', '0'],
  ['NODES', '9'],
  ['NODES', 'NaN'],
])('%s=%s is refused with the reason', (name, value) => {
  const message = `Expected ${name} to be an integer of `;
  expect(() => readSettings({ [name]: value })).toThrow(message);
  expect(() => readSettings({ [name]: value })).toThrow(RangeError);
});

test('two brokers are refused with the reason', () => {
  const both = { REDIS_URL: 'redis://127.0.0.1', NATS_URL: '127.0.0.1' };
  expect(() => readSettings(both)).toThrow(new TypeError('Expected REDIS_URL or NATS_URL, not both'));
});

const DEFAULTS = {
  port: 8080,
  host: '127.0.0.1',
  drainPerSecond: 100,
  allowedOrigins: [],
  nodes: 3,
  redisUrl: undefined,
  natsUrl: undefined,
};

test('a variable that is missing or empty means its default', () => {
  const names = ['PORT', 'HOST', 'DRAIN_PER_SECOND', 'ALLOWED_ORIGINS', 'NODES', 'REDIS_URL', 'NATS_URL'];
  expect(readSettings({})).toEqual(DEFAULTS);
  expect(readSettings(Object.fromEntries(names.map((name) => [name, ''])))).toEqual(DEFAULTS);
});

test('origins are separated by commas, with or without spaces', () => {
  const { allowedOrigins } = readSettings({ ALLOWED_ORIGINS: 'https://a.example, https://b.example,' });
  expect(allowedOrigins).toEqual(['https://a.example', 'https://b.example']);
});
