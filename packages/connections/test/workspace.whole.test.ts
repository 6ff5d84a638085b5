import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copyWorkspace, ROOT, run } from './support/workspace-copy.js';

/*
 * What `nx` makes of the packages. Their targets are inferred, so only this test notices when one is lost: an npm
 * script of the same name hides it, and `noEmit` in a tsconfig turns the typecheck into an echo.
 */

interface Target {
  readonly cache?: boolean;
  readonly options: { readonly command?: string; readonly cwd?: string; readonly script?: string };
  readonly inputs?: readonly unknown[];
}

interface Project {
  readonly name: string;
  readonly data: {
    readonly root: string;
    readonly tags: readonly string[];
    readonly targets: Readonly<Record<string, Target>>;
  };
}

/** Nx starts slowly, and compilers have to run. */
const TIMEOUT_MS = 120_000;

let copy: string;
let projects: Map<string, Project>;

/** As in a fresh clone: without a cache, and without what Nx remembers from another run. */
const nx = (...args: readonly string[]) =>
  run('npm', ['exec', '--', 'nx', ...args], copy, {
    CI: 'true',
    NX_CACHE_DIRECTORY: path.join(copy, '.nx', 'cache'),
    NX_WORKSPACE_DATA_DIRECTORY: path.join(copy, '.nx', 'workspace-data'),
  });

beforeAll(async () => {
  copy = await copyWorkspace();
  await nx('graph', '--file=graph.json');
  const { graph } = JSON.parse(await readFile(path.join(copy, 'graph.json'), 'utf8')) as {
    graph: { nodes: Record<string, Project> };
  };
  projects = new Map(Object.values(graph.nodes).map((project) => [project.data.root, project]));
}, TIMEOUT_MS);

afterAll(() => rm(copy, { recursive: true, force: true }));

const withFile = (names: readonly string[], file: string): string[] =>
  names.filter((name) => existsSync(path.join(ROOT, 'packages', name, file)));
const packages = withFile(await readdir(path.join(ROOT, 'packages')), 'package.json');

async function readJson<Content>(...names: readonly string[]): Promise<Content> {
  return JSON.parse(await readFile(path.join(ROOT, ...names), 'utf8')) as Content;
}

function targetOf(name: string, target: string): Target {
  const found = projects.get(`packages/${name}`)?.data.targets[target];
  if (found === undefined) throw new Error(`Expected packages/${name} to have a target "${target}".`);
  return found;
}

describe('the targets', () => {
  test.each(packages)('the project of packages/%s is named after its folder', (name) => {
    expect(projects.get(`packages/${name}`)?.name).toBe(name);
  });

  test.each(packages)('the project %s is linted, and typechecked by its references', (name) => {
    expect(targetOf(name, 'lint').options.script).toBe('lint');
    expect(targetOf(name, 'typecheck').options).toEqual({
      cwd: `packages/${name}`,
      command: 'tsc --build tsconfig.json --emitDeclarationOnly',
    });
  });

  test.each(withFile(packages, 'src'))('the project %s is built by its references', (name) => {
    expect(targetOf(name, 'build').options).toEqual({
      cwd: `packages/${name}`,
      command: 'tsc --build tsconfig.lib.json',
    });
  });

  test.each(withFile(packages, 'test'))(
    'the tests of the project %s are typechecked, and their results are never cached',
    (name) => {
      // A cached result would hide a test that fails by chance, on this machine or with another version of Node.
      expect(targetOf(name, 'test')).toMatchObject({ cache: false, options: { script: 'test' } });
      expect(targetOf(name, 'typecheck').inputs).toContain('{projectRoot}/test/**/*.ts');
    },
  );

  test('the targets run the compiler that the root asks for', async () => {
    // The package for TypeScript 5.4 brings its own `tsc`. `npm ci` must install ours under that name.
    const { stdout } = await run('npm', ['exec', '--', 'tsc', '--version'], ROOT);
    const { devDependencies } = await readJson<{ devDependencies: { typescript: string } }>('package.json');
    expect(stdout.trim()).toBe(`Version ${devDependencies.typescript}`);
  });
});

test('a package is released unless it is private', async () => {
  const { release } = await readJson<{ release: { projects: string[] } }>('nx.json');
  expect(release.projects).toEqual(['tag:npm:public']);
  for (const name of packages) {
    const manifest = await readJson<{ private?: boolean }>('packages', name, 'package.json');
    const isReleased = projects.get(`packages/${name}`)?.data.tags.includes('npm:public');
    expect(isReleased, name).toBe(manifest.private !== true);
  }
});

test('a type error in a test fails the typecheck', { timeout: TIMEOUT_MS }, async () => {
  const tests = path.join(copy, 'packages', 'connections', 'test', 'folder');
  await mkdir(tests, { recursive: true });
  const code = "import { CloseCode } from '../../src/index.js';\nCloseCode.NoSuchCode;\n";
  await writeFile(path.join(tests, 'wrong.test.ts'), code);
  await expect(nx('typecheck', 'connections')).rejects.toThrow(/wrong\.test\.ts.+TS2339/);
});

/** Files that are added to a folder of `src`, and what the lint must say about them. */
const wrongImports: readonly [title: string, files: Record<string, string>, complaint: RegExp][] = [
  [
    'an import from a room above',
    { 'wire/up.ts': "import { Outbox } from '../sending/outbox.js';\nexport const up = Outbox;\n" },
    /upward-from-wire: src\/wire\/up\.ts → src\/sending\/outbox\.ts/,
  ],
  [
    'an import of a type from a room above',
    { 'wire/up.ts': "import type { Outbox } from '../sending/outbox.js';\nexport type Up = Outbox;\n" },
    /upward-from-wire: src\/wire\/up\.ts → src\/sending\/outbox\.ts/,
  ],
  [
    'a circle of types in one room',
    {
      'wire/one.ts': "import type { Other } from './other.js';\nexport type One = Other[];\n",
      'wire/other.ts': "import type { One } from './one.js';\nexport type Other = One[];\n",
    },
    /circle: src\/wire\/one\.ts/,
  ],
  [
    'a folder without a place in the order',
    { 'attic/new.ts': "import { show } from '../errors.js';\nexport const shown = show;\n" },
    /importer-in-no-room: src\/attic\/new\.ts/,
  ],
];

/** The second command of the lint script, in the copy. */
async function lintImports(): Promise<string> {
  const folder = path.join(copy, 'packages', 'connections');
  const { scripts } = await readJson<{ scripts: { lint: string } }>('packages/connections/package.json');
  const [command, ...args] = scripts.lint.split(' && ')[1]!.split(' ') as [string, ...string[]];
  return (await run('npm', ['exec', '--', command, ...args], folder)).stdout;
}

test('the imports of the library pass the lint', { timeout: TIMEOUT_MS }, async () => {
  expect(await lintImports()).toContain('no dependency violations found');
});

test.each(wrongImports)('%s fails the lint', { timeout: TIMEOUT_MS }, async (_, files, complaint) => {
  const folder = path.join(copy, 'packages', 'connections');
  const written = Object.entries(files).map(
    ([name, code]) => [path.join(folder, 'src', name), code] as const,
  );
  try {
    for (const [file, code] of written) {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, code);
    }
    await expect(lintImports()).rejects.toThrow(complaint);
  } finally {
    for (const [file] of written) await rm(file);
  }
});
