import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile, type Compiler } from './support/compile.js';
import { copyWorkspace, ROOT, run } from './support/workspace-copy.js';

/*
 * The library and its adapters as they are published: packed, which builds them again, and installed together in an
 * empty folder outside the workspace.
 */

const PACKAGES = ['connections', 'connections-redis', 'connections-nats'] as const;

/** Building, installing and compiling start several processes, one after the other. */
const TIMEOUT_MS = 240_000;

/** What users install besides them: the clients of the brokers, and the types of Node. */
const BESIDE = ['@types/node', 'undici-types', 'redis', 'ioredis', '@nats-io', 'nats'] as const;

let folder: string;
const contents = new Map<string, readonly string[]>();

beforeAll(async () => {
  // Compilers name the real path.
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'connections-packages-')));
  const workspace = await copyWorkspace();
  try {
    const tarballs: string[] = [];
    for (const name of PACKAGES) {
      const source = path.join(workspace, 'packages', name);
      const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], source);
      const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
      contents.set(
        name,
        packed.files.map((file) => file.path),
      );
      tarballs.push(`./${packed.filename}`);
    }
    await writeFile(path.join(folder, 'package.json'), '{ "private": true }');
    await run('npm', ['install', '--offline', '--no-audit', '--no-fund', ...tarballs], folder);
  } finally {
    await rm(workspace, { recursive: true });
  }
  await mkdir(path.join(folder, 'node_modules', '@types'));
  for (const name of BESIDE) {
    const target = path.join(ROOT, 'node_modules', name);
    await symlink(target, path.join(folder, 'node_modules', name), 'junction');
  }
}, TIMEOUT_MS);

afterAll(() => rm(folder, { recursive: true, force: true }));

test('the library and its adapters install together without any other package', async () => {
  const lock = await readFile(path.join(folder, 'node_modules', '.package-lock.json'), 'utf8');
  const { packages } = JSON.parse(lock) as { packages: object };
  expect(Object.keys(packages).sort()).toEqual(PACKAGES.map((name) => `node_modules/@soketi/${name}`).sort());
});

test.each(PACKAGES.slice(1))(
  'the package %s holds its builds for import and require(), its sources, its readme and no tests',
  (name) => {
    const files = contents.get(name)!;
    const expected = [
      'README.md',
      'LICENSE',
      'package.json',
      'cjs/index.cjs',
      'cjs/index.d.cts',
      'dist/index.js',
    ];
    expect(files).toEqual(expect.arrayContaining([...expected, 'dist/index.d.ts', 'src/index.ts']));
    expect(files.filter((file) => /test|tsbuildinfo|tsconfig/.test(file))).toEqual([]);
  },
);

/** Without a broker: the adapters report it at once, and do not keep the process alive. */
const PROGRAM = `
  import { ConnectionsPool, type ClusterAdapter } from '@soketi/connections';
  import { natsAdapter, type NatsAdapterOptions } from '@soketi/connections-nats';
  import { redisAdapter, type RedisAdapterOptions } from '@soketi/connections-redis';
  import type { NatsConnection } from '@nats-io/transport-node';
  import type { NatsConnection as NatsConnection2 } from 'nats';
  import { Redis } from 'ioredis';
  import { createClient } from 'redis';

  export const overNats = (connection: NatsConnection): ClusterAdapter => natsAdapter({ connection });
  export const overNats2 = (connection: NatsConnection2): ClusterAdapter => natsAdapter({ connection });
  export const options = (client: Redis): RedisAdapterOptions => ({ client, prefix: 'chat' });
  // @ts-expect-error -- not an option
  export const unknown: NatsAdapterOptions = { prefx: 'chat' };

  const client = createClient({ socket: { reconnectStrategy: false } });
  client.on('error', () => undefined);
  const redis = new Redis({ lazyConnect: true });
  redis.on('error', () => undefined);
  for (const adapter of [redisAdapter({ client }), redisAdapter({ client: redis })]) {
    const pool = new ConnectionsPool({ adapter });
    pool.on('error', () => undefined);
    console.log(pool.cluster.state);
    void pool.cluster.leave().then(() => {
      console.log(pool.cluster.state);
    });
  }
  try {
    natsAdapter({ connection: {} as NatsConnection });
  } catch (error) {
    console.log(error instanceof TypeError);
  }
`;
const PRINTED = 'connecting\nconnecting\ntrue\nalone\nalone\n';

/** The compilers of our users, and the endings of their files: with "m" an ES module, with "c" CommonJS. */
const compilers: readonly [string, Compiler, readonly ('.mts' | '.cts')[]][] = [
  ['TypeScript 5.4, node16', { name: 'typescript-5.4', module: 'node16' }, ['.mts', '.cts']],
  ['TypeScript 6, nodenext', { name: 'typescript', module: 'nodenext' }, ['.mts', '.cts']],
];

describe('a program that uses all of them', () => {
  test.each(compilers)(
    'a program that uses all packages compiles, and runs as an ES module and as CommonJS: %s',
    async (_, compiler, endings) => {
      const sources = Object.fromEntries(endings.map((ending) => [`program${ending}`, PROGRAM]));
      const { project, complaints } = await compile(compiler, sources, folder);
      expect(complaints).toBe('');
      for (const ending of endings) {
        const file = path.join(project, `program${ending.replace('ts', 'js')}`);
        const { stdout, stderr } = await run(process.execPath, [file], folder);
        expect([stdout, stderr]).toEqual([PRINTED, '']);
      }
    },
    TIMEOUT_MS,
  );
});
