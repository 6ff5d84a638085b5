import { existsSync } from 'node:fs';
import { mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import prettier from 'prettier';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { apiPage, exportedNames } from './support/api-page.js';
import { compile } from './support/compile.js';
import { GLOBALS } from './support/docs-globals.js';
import { anchorsOf, codeBlocks, otherPages, page, PACKAGE, pages, proseOf } from './support/docs.js';
import { ROOT, run } from './support/workspace-copy.js';

/*
 * The README and the documentation of the package: every block of JavaScript and TypeScript is typechecked, programs
 * run, links lead somewhere, and the page of the API agrees with the docstrings.
 */

/** A compiler and the programs have to run. */
const TIMEOUT_MS = 240_000;

const blocks = pages.flatMap(codeBlocks);
const inLanguage = (...languages: readonly string[]) =>
  blocks.filter(({ language }) => languages.includes(language));

let folder: string;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'connections-docs-')));
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'), 'junction');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('code', () => {
  test('every block names a language, and every program is typechecked', () => {
    const known = ['js', 'ts', 'html', 'nginx', 'sh', 'text'];
    expect(blocks.filter(({ language }) => !known.includes(language))).toEqual([]);
    expect(inLanguage('js', 'ts').length).toBeGreaterThan(50);
  });

  test('every block of JavaScript and TypeScript compiles', { timeout: TIMEOUT_MS }, async () => {
    const scripts = inLanguage('html').flatMap(({ where, code }) =>
      [...code.matchAll(/<script>\n([^]*?)<\/script>/g)].map(([, script = '']) => ({
        where,
        language: 'js',
        code: script,
      })),
    );
    const sources = [...inLanguage('js', 'ts'), ...scripts].map(({ where, language, code }) => [
      `${where.replaceAll(/[^\w]+/g, '-')}.m${language}`,
      // A module of its own, so that its names do not clash with those of other blocks.
      `${code}\nexport {};\n`,
    ]);
    const compiler = {
      name: 'typescript',
      module: 'nodenext',
      lib: ['es2023', 'dom', 'dom.iterable'],
      allowJs: true,
      checkJs: true,
      noImplicitAny: false,
      // JavaScript cannot assert that a value is not `null`.
      strictNullChecks: false,
      exactOptionalPropertyTypes: false,
      skipLibCheck: true,
      noEmit: true,
    };
    const { complaints } = await compile(
      compiler,
      { ...(Object.fromEntries(sources) as Record<string, string>), 'globals.d.ts': GLOBALS },
      folder,
    );
    expect(complaints).toBe('');
  });

  const programs = inLanguage('js')
    .filter(({ code }) => code.includes("from 'node:assert/strict'"))
    .map(({ where, code }) => [where, code] as const);
  test.each(programs)('the program of %s runs', async (_, code) => {
    const file = path.join(folder, 'program.mjs');
    await writeFile(file, code);
    expect(await run(process.execPath, [file], folder)).toEqual({ stdout: '', stderr: '' });
  });
});

const all = [...pages, ...otherPages];

test('no page has the marks of a merge that nobody finished, as a formatter may have left them', () => {
  const marks = /^[\s>]*(?:<{7}|\\?={7}|>{7}|(?:> ){6}>)/;
  const marked = all.flatMap(({ file, text }) =>
    text.split('\n').flatMap((line, index) => (marks.test(line) ? [`${file}:${index + 1}`] : [])),
  );
  expect(marked).toEqual([]);
});

describe('links', () => {
  const links = all.flatMap((source) =>
    [...proseOf(source).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link = '']) => ({ file: source.file, link }))
      .filter(({ link }) => !/^[a-z]+:/.test(link)),
  );

  test('every relative link leads to a file, and its anchor to a heading', () => {
    const broken = links.filter(({ file, link }) => {
      const [target = '', anchor] = link.split('#');
      const to = path.posix.join(path.posix.dirname(file), target);
      const found = target === '' ? file : to;
      if (!existsSync(path.join(ROOT, found))) return true;
      if (anchor === undefined) return false;
      return !anchorsOf(all.find((known) => known.file === found) ?? { file: '', text: '' }).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  test('no link of the package leads outside of it', () => {
    const shipped = links.filter(({ file }) => file.startsWith('packages/connections/'));
    const outside = shipped.filter(
      ({ file, link }) =>
        !path.posix.join(path.posix.dirname(file), link).startsWith('packages/connections/'),
    );
    expect(outside).toEqual([]);
  });

  test('every page can be reached from the README and from the first page', () => {
    const names = pages.map(({ file }) => path.posix.basename(file)).filter((name) => name !== 'README.md');
    const [readme, index] = pages.filter(({ file }) => file.endsWith('README.md'));
    for (const name of names) {
      expect(readme!.text).toContain(`(docs/${name})`);
      expect(index!.text).toContain(`(${name})`);
    }
  });
});

describe('completeness', () => {
  test('the README has fewer than 1,200 words', () => {
    expect(pages[0]!.text.split(/\s+/).length).toBeLessThan(1_200);
  });

  test(
    'the page of the API matches the docstrings (vitest -u rewrites it)',
    { timeout: TIMEOUT_MS },
    async () => {
      const file = path.join(PACKAGE, 'docs', 'api.md');
      const options = await prettier.resolveConfig(file);
      const text = await prettier.format(apiPage(), { ...options, filepath: file });
      await expect(text).toMatchFileSnapshot(file);
    },
  );

  test('the page of the API has every export of every entry point', () => {
    const { text } = page('api.md');
    const missing = exportedNames()
      .map(({ name }) => name)
      .filter((name) => !text.includes(`\n### ${name}\n`));
    expect(missing).toEqual([]);
  });

  test('the pages name the kind of every figure of stats()', () => {
    const { text } = page('api.md');
    const section = text.slice(
      text.indexOf('### PoolStats'),
      text.indexOf('### ', text.indexOf('### PoolStats') + 4),
    );
    const documented = [...section.matchAll(/^- `(\w+): number`\n\n {2}([^]*?)(?=\n- `|\n*$)/gm)];
    expect(documented.length).toBeGreaterThan(25);
    const observing = page('observing.md').text;
    const gauges = observing.slice(observing.indexOf('const GAUGES'), observing.indexOf('function metrics'));
    for (const [, field = '', docstring = ''] of documented) {
      const kind = docstring.includes('Gauge.') ? 'gauge' : 'counter';
      expect(observing, field).toMatch(new RegExp(`^\\| \`${field}\` +\\| [\\w-]+ +\\| ${kind} `, 'm'));
      expect(gauges.includes(`'${field}'`), field).toBe(kind === 'gauge');
    }
  });
});
