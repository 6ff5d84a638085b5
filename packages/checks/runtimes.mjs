/*
 * Tries the packed library on other runtimes: `npm run runtimes -w @soketi/checks`.
 *
 * Packs what `dist` holds, installs it in a temporary folder beside `ws`, Node 20, 22, 24 and the newest, Bun and Deno
 * (all from npm, about 1 GB, removed afterwards), and runs runtime-smoke.mjs on each over every kind of WebSocket that
 * the runtime has. Prints a table in Markdown, which is the one in the library's README. Ends with status 1 when anything
 * failed. For Linux and macOS.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const PACKAGE = fileURLToPath(new URL('../connections', import.meta.url));
const CHECKS = fileURLToPath(new URL('.', import.meta.url));
const PROGRAM = 'runtime-smoke.mjs';
const RUN_TIMEOUT_MS = 300_000;

/** The package that `node` would install with a script. */
const NODE_PACKAGE = `node-${process.platform}-${process.arch}`;
const NODE_VERSIONS = ['20', '22', '24', 'latest'];

const RUNTIMES = [
  ...NODE_VERSIONS.map((version) => ({ file: `node-${version}/bin/node`, args: [] })),
  { file: '.bin/bun', args: [] },
  { file: '.bin/deno', args: ['run', '--allow-all', '--no-remote'] },
];

async function install(folder) {
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: PACKAGE,
  });
  const [{ filename }] = JSON.parse(stdout);
  const manifest = {
    private: true,
    type: 'module',
    dependencies: {
      '@soketi/connections': `file:./${filename}`,
      ws: '8',
      bun: '1',
      deno: '2',
      ...Object.fromEntries(
        NODE_VERSIONS.map((version) => [`node-${version}`, `npm:${NODE_PACKAGE}@${version}`]),
      ),
    },
    // They install their binaries with a script.
    allowScripts: { bun: true, deno: true },
  };
  await writeFile(path.join(folder, 'package.json'), JSON.stringify(manifest));
  await run('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock'], { cwd: folder });
  for (const file of [PROGRAM, 'runtime-hosts.mjs']) {
    await copyFile(path.join(CHECKS, file), path.join(folder, file));
  }
}

/** A program that crashes or does not end counts as a failure, in addition to the lines that it has printed. */
async function smoke(folder, { file, args }) {
  const options = { cwd: folder, timeout: RUN_TIMEOUT_MS, killSignal: 'SIGKILL' };
  const ended = await run(path.join(folder, 'node_modules', file), [...args, PROGRAM], options).catch(
    (error) => error,
  );
  const rows = (ended.stdout ?? '')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  if (ended instanceof Error) {
    console.error(ended.message);
    rows.push({ runtime: file, version: '', socket: '', results: { 'the whole run': 'failed: see above' } });
  }
  return rows;
}

const CAPABILITIES = ['terminate', 'ping', 'pause', 'bufferedAmount', 'readyState', 'cork'];

function describe({ capabilities = {}, direct = '', results }) {
  const exceptions = Object.entries(results)
    .filter(([, result]) => result !== 'ok')
    .map(([what, result]) => `${what} (${result.replace(/^n\/a: /, '')})`);
  return [
    capabilities.events ?? '',
    CAPABILITIES.filter((name) => capabilities[name])
      .map((name) => `\`${name}\``)
      .join(' '),
    direct,
    exceptions.length === 0 ? 'all' : `all but ${exceptions.join(', ')}`,
  ];
}

/** Joins rows that differ in one column only. */
function merge(rows, column) {
  const merged = new Map();
  for (const row of rows) {
    const key = JSON.stringify(row.with(column, ''));
    const known = merged.get(key);
    if (known === undefined) merged.set(key, row);
    else if (!known[column].split(', ').includes(row[column])) {
      merged.set(key, known.with(column, `${known[column]}, ${row[column]}`));
    }
  }
  return [...merged.values()];
}

function table(rows) {
  const cells = rows.map((row) => [row.runtime, row.version, row.socket, ...describe(row)]);
  const head = ['runtime', 'version', 'socket', 'events', 'can', 'direct path', 'works'];
  const lines = [head, head.map(() => '---'), ...merge(merge(cells, 1), 2)];
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
}

// Ctrl-C also ends the child programs; their files are removed all the same.
process.on('SIGINT', () => (process.exitCode = 130));
const folder = await mkdtemp(path.join(tmpdir(), 'connections-runtimes-'));
try {
  await install(folder);
  const rows = [];
  for (const runtime of RUNTIMES) rows.push(...(await smoke(folder, runtime)));
  console.log(table(rows));
  const results = rows.flatMap((row) => Object.values(row.results));
  if (results.some((result) => result.startsWith('failed'))) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
