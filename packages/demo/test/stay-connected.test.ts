import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { blockWith } from '../../connections/test/support/docs.js';

test('page and bots come back with the function of the documentation, letter by letter', async () => {
  const copy = await readFile(new URL('../public/stay-connected.js', import.meta.url), 'utf8');
  const documented = blockWith('deploys.md', 'function stayConnected');
  expect(copy.replace('export function', 'function').trim()).toBe(documented.trim());
});
