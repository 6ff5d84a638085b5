import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type TypeScript from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/*
 * The package as it is published: what `npm run build` left in `dist`, packed, and installed in an empty folder
 * outside the workspace.
 */

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));

// Imported, all of it would be parsed once more for its names.
const ts = createRequire(import.meta.url)('typescript') as typeof TypeScript;

/** Installing and compiling start several processes. */
const TIMEOUT_MS = 60_000;

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** Fails with all that was printed when the command does. */
async function run(command: string, args: readonly string[], cwd: string): Promise<Output> {
  try {
    return await promisify(execFile)(command, args, { cwd });
  } catch (error) {
    const { stdout, stderr } = error as Output;
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

let folder: string;
let files: string[];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'connections-package-'));
  const { stdout } = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
    PACKAGE,
  );
  const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  files = packed.files.map((file) => file.path);
  await writeFile(path.join(folder, 'package.json'), '{ "private": true }');
  await run(
    'npm',
    ['install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`],
    folder,
  );
}, TIMEOUT_MS);

afterAll(() => rm(folder, { recursive: true, force: true }));

const installed = (...names: string[]): string =>
  path.join(folder, 'node_modules', '@soketi', 'connections', ...names);

describe('what is in it', () => {
  test('the build, the readme, the licence and the manifest, and nothing else', () => {
    const expected = ['LICENSE', 'README.md', 'package.json', 'dist/index.js', 'dist/index.d.ts'];
    expect(files).toEqual(expect.arrayContaining(expected));
    const others = files.filter((file) => !expected.includes(file));
    for (const file of others) expect(file).toMatch(/^dist\/[a-z-]+(\.d\.ts|\.js)(\.map)?$/);
  });

  test('it depends on nothing, and nothing else is installed', async () => {
    const manifest = JSON.parse(await readFile(installed('package.json'), 'utf8')) as Record<string, unknown>;
    for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundledDependencies']) {
      expect(manifest[kind] ?? {}).toEqual({});
    }
    expect(manifest).toMatchObject({
      type: 'module',
      sideEffects: false,
      engines: { node: '^20.19.0 || >=22.12.0' },
    });
    const lock = await readFile(path.join(folder, 'node_modules', '.package-lock.json'), 'utf8');
    const { packages } = JSON.parse(lock) as { packages: object };
    expect(Object.keys(packages)).toEqual(['node_modules/@soketi/connections']);
  });

  test('every public file is declared: each import of the declarations is there', async () => {
    const declarations = files.filter((file) => file.endsWith('.d.ts'));
    for (const file of declarations) {
      const text = await readFile(installed(file), 'utf8');
      for (const [, imported] of text.matchAll(/from '\.\/([a-z-]+)\.js'/g)) {
        expect(files).toContain(`dist/${imported}.d.ts`);
        expect(files).toContain(`dist/${imported}.js`);
      }
    }
  });

  // What users see of a connection or a pool is what is documented: members marked as internal are stripped.
  test.each(['connection.d.ts', 'connections-pool.d.ts'])('%s shows no internal member', async (file) => {
    const text = await readFile(installed('dist', file), 'utf8');
    expect(text).toContain('export declare class');
    expect(text).not.toMatch(/\[k[A-Z]\w+\]|@internal/);
  });
});

describe.concurrent('it is used', () => {
  const program = `
    const socket = { send: (message) => console.log(message), close: () => undefined };
    const pool = new ConnectionsPool({ idleTimeout: 600_000, heartbeat: true });
    const connection = new Connection('1', 'default', socket);
    connection.on('close', (code) => console.log(code));
    void pool.newConnection(connection).then(async () => {
      const { sent } = await pool.broadcastJsonMessage('default', { hello: 'world' });
      console.log(sent, CloseCode.ServiceRestart);
      connection.close(4000);
    });
  `;
  const printed = '{"hello":"world"}\n1 1012\n';

  // It ends by itself, although an idle limit and a close that nobody answers are pending.
  test('from an ES module', { timeout: TIMEOUT_MS }, async () => {
    const names = "import { CloseCode, Connection, ConnectionsPool } from '@soketi/connections';";
    await writeFile(path.join(folder, 'esm.mjs'), names + program);
    const { stdout, stderr } = await run(process.execPath, ['esm.mjs'], folder);
    expect(stdout).toBe(printed);
    expect(stderr).toBe('');
  });

  test('by require()', { timeout: TIMEOUT_MS }, async () => {
    const names = "const { CloseCode, Connection, ConnectionsPool } = require('@soketi/connections');";
    await writeFile(path.join(folder, 'common.cjs'), names + program);
    const { stdout } = await run(process.execPath, ['common.cjs'], folder);
    expect(stdout).toBe(printed);
  });

  test('by nothing but its door', { timeout: TIMEOUT_MS }, async () => {
    const code = "import('@soketi/connections/dist/outbox.js').catch(({ code }) => console.log(code))";
    const { stdout } = await run(process.execPath, ['--eval', code], folder);
    expect(stdout).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n');
    const manifest = "import('@soketi/connections/package.json', { with: { type: 'json' } })";
    await run(
      process.execPath,
      ['--no-warnings', '--input-type=module', '--eval', `await ${manifest}`],
      folder,
    );
  });
});

describe('its types', () => {
  const consumer = `
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
  `;

  const options: TypeScript.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts'],
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noImplicitOverride: true,
    noPropertyAccessFromIndexSignature: true,
    skipLibCheck: false,
    noEmit: true,
  };
  const nodenext = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  };
  const bundler = {
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };

  /** What the compiler says of a project with these files: of them and of the package, not of Node's own types. */
  async function complaints(names: readonly string[], modules: TypeScript.CompilerOptions): Promise<string> {
    const project = await mkdtemp(path.join(folder, 'types-'));
    const roots = names.map((name) => path.join(project, name));
    for (const root of roots) await writeFile(root, consumer);
    const host = ts.createCompilerHost({});
    const program = ts.createProgram(
      roots,
      { ...options, ...modules },
      { ...host, getCurrentDirectory: () => project },
    );
    const declarations = program
      .getSourceFiles()
      .filter(({ fileName }) => fileName.startsWith(installed('dist')));
    expect(declarations.map(({ fileName }) => path.basename(fileName))).toContain('index.d.ts');
    const found = [
      ...program.getConfigFileParsingDiagnostics(),
      ...program.getOptionsDiagnostics(),
      ...program.getGlobalDiagnostics(),
      ...[...roots.map((root) => program.getSourceFile(root)!), ...declarations].flatMap((file) => [
        ...program.getSyntacticDiagnostics(file),
        ...program.getSemanticDiagnostics(file),
      ]),
    ];
    return ts.formatDiagnostics(found, host);
  }

  beforeAll(async () => {
    // As npm would have installed them beside the package.
    await mkdir(path.join(folder, 'node_modules', '@types'));
    for (const name of ['@types/node', 'undici-types']) {
      await symlink(path.join(MODULES, name), path.join(folder, 'node_modules', name));
    }
  });

  test.each([
    ['nodenext, ES module and CommonJS', ['consumer.mts', 'consumer.cts'], nodenext],
    ['bundler', ['consumer.ts'], bundler],
  ])('hold in a strict project: %s', { timeout: TIMEOUT_MS }, async (_, names, modules) => {
    expect(await complaints(names, modules)).toBe('');
  });
});
