import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { codeBlocks, otherPages, PACKAGE } from './support/docs.js';
import { ROOT } from './support/workspace-copy.js';

/*
 * ARCHITECTURE.md is the map of the sources. A wrong map is worse than none, so everything that it names must exist.
 */
const map = otherPages.find(({ file }) => file === 'ARCHITECTURE.md')!;
const { ROOMS } = (await import(path.join(ROOT, 'dependency-cruiser.config.js'))) as {
  readonly ROOMS: readonly (readonly string[])[];
};
const SOURCES = path.join(PACKAGE, 'src');
const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
);
const sources = files.map((file) => readFileSync(path.join(SOURCES, file), 'utf8'));
const inCode = [...map.text.matchAll(/`([^`\n]+)`/g)].map(([, name]) => name as string);

/** The sources that declare the class or interface. */
const sourcesOf = (type: string): readonly string[] =>
  sources.filter((source) =>
    new RegExp(`^(export )?(abstract )?(class|interface) ${type}\\b`, 'm').test(source),
  );

/** Whether a class or an interface in the source has the member. */
const declares = (source: string, member: string): boolean =>
  new RegExp(
    `^ +((override|abstract|readonly|static|async|protected|get) )*${member}(<.*)?( =|[(:])`,
    'm',
  ).test(source);

test('the figure of ARCHITECTURE.md shows the rooms of the import rule, from the top to the bottom', () => {
  const lines = codeBlocks(map)[0]!.code.split('\n');
  const shown = lines.map((line) => line.split(/ {2,}/)[0]!.split(' '));
  expect(shown).toEqual(
    ROOMS.toReversed().map((room) => (room.includes('index') ? ['index', 'testing', 'ipc'] : room)),
  );
});

test('every method that ARCHITECTURE.md names exists', () => {
  const named = inCode.filter((name) => /^[A-Z]\w+\.#?[a-z]\w+$/.test(name));
  const missing = named.filter((name) => {
    const [type, member] = name.split('.') as [string, string];
    return !sourcesOf(type).some((source) => declares(source, member));
  });
  expect(named.length).toBeGreaterThan(20);
  expect(missing).toEqual([]);
});

test('every private member that ARCHITECTURE.md names exists', () => {
  const named = inCode.filter((name) => /^#\w+$/.test(name));
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((name) => !sources.some((source) => declares(source, name)))).toEqual([]);
});

test('every file that ARCHITECTURE.md names exists', () => {
  const named = inCode.filter((name) => /^[\w/-]+\.ts$/.test(name));
  expect(named.length).toBeGreaterThan(10);
  const known = new Set(files.flatMap((file) => [file, path.posix.basename(file)]));
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});

test('every folder that ARCHITECTURE.md names exists', () => {
  const named = inCode.filter((name) => /^[\w-]+\/$/.test(name));
  expect(named.filter((name) => !existsSync(path.join(SOURCES, name)))).toEqual([]);
});

test('each class and each interface of the sources has a name of its own', () => {
  const declared = sources.flatMap((source) => [
    ...source.matchAll(/^(?:export )?(?:abstract )?(?:class|interface) (\w+)/gm),
  ]);
  const names = declared.map(([, name]) => name as string);
  expect(names.length).toBeGreaterThan(100);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});
