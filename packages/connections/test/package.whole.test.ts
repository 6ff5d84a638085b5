import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile, type Compiler } from './support/compile.js';
import { copyWorkspace, ROOT, run } from './support/workspace-copy.js';

/*
 * The package as it is published: packed, which builds it again, and installed in an empty folder outside the
 * workspace.
 */

const PACKAGE = path.join(ROOT, 'packages', 'connections');

/** Building, installing and compiling start several processes. */
const TIMEOUT_MS = 120_000;

interface Manifest {
  readonly exports: Readonly<Record<string, string | Door>>;
  readonly typesVersions?: { readonly '*': Readonly<Record<string, readonly string[]>> };
}

interface Door {
  readonly require: { readonly types: string; readonly default: string };
  readonly types: string;
  readonly default: string;
}

const manifest = JSON.parse(await readFile(path.join(PACKAGE, 'package.json'), 'utf8')) as Manifest;

/** All paths that can be imported, except "./package.json". */
const doors = Object.entries(manifest.exports).filter(
  (entry): entry is [string, Door] => typeof entry[1] === 'object',
);
const nameOf = (door: string): string => path.posix.join('@soketi/connections', door);
const sourceOf = (door: string): string => (door === '.' ? 'index' : path.posix.basename(door));

let folder: string;
let files: string[];

beforeAll(async () => {
  // Compilers and stack traces name the real path.
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'connections-package-')));
  const workspace = await copyWorkspace();
  try {
    const source = path.join(workspace, 'packages', 'connections');
    // A file left by a source that no longer exists.
    await mkdir(path.join(source, 'dist'));
    await writeFile(path.join(source, 'dist', 'stale.js'), '');
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], source);
    const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
    files = packed.files.map((file) => file.path);
    await writeFile(path.join(folder, 'package.json'), '{ "private": true }');
    await run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`], folder);
  } finally {
    await rm(workspace, { recursive: true });
  }
}, TIMEOUT_MS);

afterAll(() => rm(folder, { recursive: true, force: true }));

const installed = (...names: string[]): string =>
  path.join(folder, 'node_modules', '@soketi', 'connections', ...names);

/** The output of the program in Node, which must not print a warning. */
async function runNode(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(process.execPath, args, folder);
  expect(stderr).toBe('');
  return stdout;
}

describe('the contents of the package', () => {
  test('the package holds the sources, their builds with source maps, the docs, and nothing else', async () => {
    const names = await readdir(path.join(PACKAGE, 'src'), { recursive: true });
    const sources = names.filter((name) => name.endsWith('.ts')).map((name) => name.replaceAll('\\', '/'));
    const built = sources.flatMap((source) =>
      ['.js', '.js.map', '.d.ts', '.d.ts.map'].map((ending) => source.replace(/\.ts$/, ending)),
    );
    const expected = [
      ...['LICENSE', 'README.md', 'package.json', 'CHANGELOG.md'].filter((name) =>
        existsSync(path.join(PACKAGE, name)),
      ),
      ...doors.flatMap(([, { require }]) =>
        [require.types, require.default].map((file) => path.posix.normalize(file)),
      ),
      ...(await readdir(path.join(PACKAGE, 'docs'))).map((page) => `docs/${page}`),
      ...sources.map((source) => `src/${source}`),
      ...built.map((file) => `dist/${file}`),
    ];
    expect([...files].sort()).toEqual(expected.sort());
  });

  test('the package has no dependencies, and installing it installs nothing else', async () => {
    const text = await readFile(installed('package.json'), 'utf8');
    const packed = JSON.parse(text) as Record<string, unknown>;
    for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundledDependencies']) {
      expect(packed[kind] ?? {}).toEqual({});
    }
    const engines = { node: '^20.19.0 || >=22.12.0' };
    expect(packed).toMatchObject({ type: 'module', sideEffects: false, engines });
    const lock = await readFile(path.join(folder, 'node_modules', '.package-lock.json'), 'utf8');
    const { packages } = JSON.parse(lock) as { packages: object };
    expect(Object.keys(packages)).toEqual(['node_modules/@soketi/connections']);
  });

  test.each(['connection.d.ts', 'connections-pool.d.ts'])('%s shows no internal member', async (file) => {
    // Users see the documented members of a connection or a pool, and nothing else.
    const text = await readFile(installed('dist', file), 'utf8');
    expect(text).toContain('export declare class');
    expect(text).not.toMatch(/\[k[A-Z]\w+\]|@internal/);
  });

  test('every source map of the package leads to a source in it', async () => {
    const maps = files.filter((file) => file.endsWith('.map'));
    for (const file of maps) {
      const { sources } = JSON.parse(await readFile(installed(file), 'utf8')) as { sources: string[] };
      expect(sources).toHaveLength(1);
      expect(files).toContain(path.posix.join(path.posix.dirname(file), sources[0]!));
    }
  });

  test('a stack trace of the package points to TypeScript sources', async () => {
    const code = `import('@soketi/connections').then(({ ConnectionsPool }) => new ConnectionsPool(null))
      .catch(({ stack }) => console.log(stack))`;
    const stack = await runNode('--enable-source-maps', '--eval', code);
    expect(stack).toMatch(/\n +at .+connections[\\/]src[\\/].+\.ts:\d+/);
  });
});

describe('the entry points of the package', () => {
  test('every entry point works with import and require(), and with a TypeScript that ignores "exports"', () => {
    for (const [door, { require, types, default: module }] of doors) {
      const file = sourceOf(door);
      expect({ require, types, module }).toEqual({
        require: { types: `./cjs/${file}.d.cts`, default: `./cjs/${file}.cjs` },
        types: `./dist/${file}.d.ts`,
        module: `./dist/${file}.js`,
      });
      const legacy = manifest.typesVersions?.['*'] ?? {};
      if (door !== '.') expect(legacy[file]).toEqual([require.types]);
    }
  });

  test.each(doors)('"%s" has the same objects with import and with require()', async (door) => {
    const code = `import('${nameOf(door)}').then((imported) => {
      const required = require('${nameOf(door)}');
      const names = Object.keys(imported);
      console.log(names.length > 0 && names.every((name) => required[name] === imported[name]));
    })`;
    expect(await runNode('--eval', code)).toBe('true\n');
  });

  test('the package has no other entry point', async () => {
    const code =
      "import('@soketi/connections/dist/sending/outbox.js').catch(({ code }) => console.log(code))";
    expect(await runNode('--eval', code)).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
    const json = "import('@soketi/connections/package.json', { with: { type: 'json' } })";
    await runNode('--no-warnings', '--input-type=module', '--eval', `await ${json}`);
  });
});

/** For each entry point, the code of a user in a strict project, and what it prints. */
const consumers: Readonly<Record<string, { readonly program: string; readonly printed: string }>> = {
  '.': {
    program: `
      import {
        CloseCode,
        Connection,
        ConnectionsError,
        ConnectionsPool,
        type BroadcastResult,
        type ConnectionsErrorCode,
        type DrainReport,
        type IConnection,
        type IConnectionsPool,
        type NativeConnectionHandlers,
        type NativeWebsocket,
        type RemoteConnection,
      } from '@soketi/connections';

      interface Order {
        readonly type: 'order';
      }

      class Player extends Connection<string, string, NativeWebsocket> {
        readonly joinedAt = Date.now();
        override close(code: number = CloseCode.GoingAway, reason?: string): Promise<void> {
          return super.close(code, reason);
        }
      }

      export async function use(socket: NativeWebsocket, player: Player): Promise<number> {
        const pool: IConnectionsPool<string, Player> = new ConnectionsPool<string, Player>({ idleTimeout: 1 });
        await pool.newConnection(player);
        const handlers: NativeConnectionHandlers<Order> = { send: () => true, close: () => undefined };
        const connection: IConnection<number, Order> = new Connection<number, Order>(1, 'x', socket, handlers);
        const isSent: boolean = await connection.send({ type: 'order' });
        const result: BroadcastResult = await pool.broadcastMessage('x', 'text', ['id']);
        const remote: RemoteConnection = player.toRemote('node');
        player.on('message', (message: string | Uint8Array, isBinary: boolean) => void [message, isBinary]);
        const report: DrainReport = await pool.drainConnections(10, remote.id, 1000);
        const joinedAt: number | undefined = pool.getConnection('x', 'id')?.joinedAt;
        // @ts-expect-error -- no such type of message in this pool
        void pool.broadcastMessage('x', 1);
        // @ts-expect-error -- internal
        void player.kPool;
        // @ts-expect-error -- read-only
        player.id = 'other';
        return isSent ? report.closed + result.sent : (joinedAt ?? 0);
      }

      export function codeOf(error: unknown): ConnectionsErrorCode | undefined {
        return error instanceof ConnectionsError ? error.code : undefined;
      }

      // It ends by itself, although an idle limit and a close that nobody answers are pending.
      const socket = { send: (message: unknown) => console.log(message), close: () => undefined };
      const pool = new ConnectionsPool<string, Player>({ idleTimeout: 600_000, heartbeat: true });
      const player = new Player('1', 'default', socket);
      player.on('close', (code) => console.log(code));
      void pool.newConnection(player).then(async () => {
        const { sent } = await pool.broadcastJsonMessage('default', { hello: 'world' });
        console.log(sent, CloseCode.ServiceRestart, player instanceof Connection);
        void player.close(4000);
      });
    `,
    printed: '{"hello":"world"}\n1 1012 true\n',
  },
  './ipc': {
    program: `
      import { ConnectionsError, type ClusterAdapter } from '@soketi/connections';
      import {
        ipcAdapter,
        relayWorkers,
        type IpcAdapterOptions,
        type WorkerRelay,
        type WorkerRelayOptions,
      } from '@soketi/connections/ipc';

      const adapterOptions: IpcAdapterOptions = { prefix: 'chat' };
      const relayOptions: WorkerRelayOptions = { maxUnsentBytes: 1_000_000 };
      const relay: WorkerRelay = relayWorkers(relayOptions);
      console.log(relay.dropped);
      relay.close();
      try {
        const adapter: ClusterAdapter = ipcAdapter(adapterOptions);
        console.log(adapter.traits.echo);
      } catch (error) {
        // Not in a worker.
        console.log(error instanceof ConnectionsError, error instanceof Error);
      }
    `,
    printed: '0\nfalse true\n',
  },
  './testing': {
    program: `
      import { Connection, ConnectionsPool, type ClusterAdapter } from '@soketi/connections';
      import {
        memoryBus,
        socketPair,
        type MemoryBus,
        type MemoryBusOptions,
        type PairedSocket,
        type SocketPair,
      } from '@soketi/connections/testing';

      const options: MemoryBusOptions = { echo: true, copies: () => 1 };
      const bus: MemoryBus = memoryBus(options);
      const adapter: ClusterAdapter = bus.adapter();
      const pools = [adapter, bus.adapter()].map((one) => new ConnectionsPool({ adapter: one }));
      const pair: SocketPair = socketPair();
      const client: PairedSocket = pair.client;
      client.onmessage = ({ data }) => console.log(data);
      void new Connection('ada', 'lobby', pair.server).send('hello');
      pools[0]!.once('node', (_node, change) => {
        console.log(change, pools[0]!.cluster.nodes.size);
        for (const { cluster } of pools) void cluster.leave();
      });
    `,
    printed: 'hello\njoined 2\n',
  },
};

/** A class is one type in both module formats: the private members of two types would make them incompatible. */
const BOTH_DOORS = `
  import type { Connection } from '@soketi/connections';
  import type { Connection as Required } from '@soketi/connections' with { 'resolution-mode': 'require' };
  export const same = (connection: Required): Connection => connection;
`;

const OLD = 'typescript-5.4';
const NEW = 'typescript';

/** The compilers of our users, and the endings of their files: with "m" an ES module, with "c" CommonJS. */
const compilers: readonly [string, Compiler, readonly ('.ts' | '.mts' | '.cts')[]][] = [
  ['TypeScript 5.4, node16', { name: OLD, module: 'node16' }, ['.mts', '.cts']],
  ['TypeScript 5.4, node10', { name: OLD, module: 'commonjs', moduleResolution: 'node10' }, ['.ts']],
  ['TypeScript 6, nodenext', { name: NEW, module: 'nodenext' }, ['.mts', '.cts']],
  ['TypeScript 6, bundler', { name: NEW, module: 'esnext', moduleResolution: 'bundler' }, ['.mts']],
];

describe('the types of the package', () => {
  beforeAll(async () => {
    // As npm would have installed them next to the package.
    await mkdir(path.join(folder, 'node_modules', '@types'));
    for (const name of ['@types/node', 'undici-types']) {
      const target = path.join(ROOT, 'node_modules', name);
      await symlink(target, path.join(folder, 'node_modules', name), 'junction');
    }
  });

  test('every entry point of the package has a consumer', () => {
    expect(Object.keys(consumers)).toEqual(doors.map(([door]) => door));
  });

  const cases = doors.flatMap(([door]) => compilers.map((compiler) => [door, ...compiler] as const));
  test.each(cases)(
    'the consumer of "%s" compiles and runs: %s',
    { timeout: TIMEOUT_MS },
    async (door, _title, compiler, endings) => {
      const { program, printed } = consumers[door]!;
      const sources = Object.fromEntries(endings.map((ending) => [`consumer${ending}`, program]));
      const { project, complaints, read } = await compile(compiler, sources, folder);
      expect(complaints).toBe('');
      expect(read).toContain(installed('dist', `${sourceOf(door)}.d.ts`));
      for (const ending of endings) {
        expect(await runNode(path.join(project, `consumer${ending.replace('ts', 'js')}`))).toBe(printed);
      }
    },
  );

  const withBothDoors = compilers.filter(([, , endings]) => endings.length > 1);
  test.each(withBothDoors)(
    'a class has the same type with import and with require(): %s',
    { timeout: TIMEOUT_MS },
    async (_title, compiler) => {
      const { complaints } = await compile(compiler, { 'both.mts': BOTH_DOORS }, folder);
      expect(complaints).toBe('');
    },
  );
});
