import { Cluster, Redis } from 'ioredis';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';
import { createCluster as createCluster4 } from 'redis-4';
import { expect, test } from 'vitest';
import { redisAdapter } from '../src/index.js';

const rootNodes = [{ url: 'redis://127.0.0.1:1' }];
const strangers: readonly [string, unknown][] = [
  ['nothing', undefined],
  ['null', null],
  ['a URL', 'redis://127.0.0.1'],
  ['an empty object', {}],
  ['a cluster of redis 4', createCluster4({ rootNodes })],
  ['a cluster of redis 6', createCluster({ rootNodes })],
  [
    'a sentinel of redis 6',
    createSentinel({ name: 'a', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] }),
  ],
  ['a pool of redis 6', createClientPool()],
  ['a cluster of ioredis', new Cluster([], { lazyConnect: true })],
];

test.each(strangers)('redisAdapter refuses %s instead of a client', (_, stranger) => {
  const client = createClient();
  expect(() => redisAdapter({ client: stranger as never })).toThrow(TypeError);
  if (stranger !== undefined)
    expect(() => redisAdapter({ client, subscriber: stranger as never })).toThrow(TypeError);
});

test.each([[''], [1], [null]])('redisAdapter refuses the prefix %j', (prefix) => {
  expect(() => redisAdapter({ client: createClient(), prefix: prefix as never })).toThrow(TypeError);
});

// A misspelt prefix was ignored: two applications shared one cluster.
test('redisAdapter refuses an unknown option', () => {
  const options = { client: createClient(), prefx: 'other' } as never;
  expect(() => redisAdapter(options)).toThrow('Expected client, subscriber, prefix, got the option prefx');
});

test('redisAdapter does not touch a client before it is started', () => {
  const clients = [createClient(), new Redis({ lazyConnect: true })];
  const count = () => clients.map((client) => client.eventNames().map(String));
  const before = count();
  for (const client of clients) redisAdapter({ client });
  expect(count()).toEqual(before);
});
