import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './workspace-copy.js';

export const PACKAGE = path.join(ROOT, 'packages', 'connections');

/** One file of markdown. */
export interface Page {
  /** Relative to the root. */
  readonly file: string;
  readonly text: string;
}

/** A piece of code between fences. */
export interface CodeBlock {
  /** The page and the line, for messages. */
  readonly where: string;
  readonly language: string;
  readonly code: string;
}

const read = (file: string): Page => ({ file, text: readFileSync(path.join(ROOT, file), 'utf8') });
const markdownIn = (folder: string): Page[] =>
  readdirSync(path.join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => read(path.posix.join(folder, name)));

/** The pages that the package ships: its README and `docs`. */
export const pages: readonly Page[] = [
  read('packages/connections/README.md'),
  ...markdownIn('packages/connections/docs'),
];

/** The pages that are only in the repository. */
export const otherPages: readonly Page[] = [
  read('README.md'),
  read('ARCHITECTURE.md'),
  read('CONTRIBUTING.md'),
  ...markdownIn('docs'),
  ...readdirSync(path.join(ROOT, 'packages'))
    .filter((name) => name !== 'connections' && existsSync(path.join(ROOT, 'packages', name, 'README.md')))
    .map((name) => read(path.posix.join('packages', name, 'README.md'))),
];

/** A page of the docs by its name. */
export function page(name: string): Page {
  const found = pages.find(({ file }) => path.posix.basename(file) === name);
  if (found === undefined) throw new Error(`There is no page ${name}`);
  // Read again each time: a test may just have written it.
  return read(found.file);
}

const FENCE = /^([ ]*)```([^\n]*)\n([^]*?)\n\1```$/gm;

export function codeBlocks({ file, text }: Page): CodeBlock[] {
  return [...text.matchAll(FENCE)].map(({ 1: indent = '', 2: language = '', 3: code = '', index }) => ({
    where: `${file}:${text.slice(0, index).split('\n').length}`,
    language,
    code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }));
}

/** The first block of a page that contains the text. */
export function blockWith(name: string, part: string): string {
  const found = codeBlocks(page(name)).find(({ code }) => code.includes(part));
  if (found === undefined) throw new Error(`No block of ${name} contains ${part}`);
  return found.code;
}

/** The text without code, in which brackets are not links. */
export function proseOf({ text }: Page): string {
  return text.replaceAll(FENCE, '').replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()#<>]/g, ''));
}

/** The anchor that GitHub and npm give a heading. */
export function anchorsOf({ text }: Page): Set<string> {
  const headings = text.replaceAll(FENCE, '').matchAll(/^#+ (.+)$/gm);
  const anchors = new Set<string>();
  for (const [, heading = ''] of headings) {
    const anchor = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}
