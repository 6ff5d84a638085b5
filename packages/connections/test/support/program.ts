import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'rolldown/utils';
import { afterAll } from 'vitest';
import { onTestFinished } from './on-test-finished.js';

const PACKAGES = fileURLToPath(new URL('../../..', import.meta.url));
const TRANSLATION = { target: 'es2023', tsconfig: false } as const;

let folder: string | undefined;
const programs = new Map<string, string>();
afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

function translate(file: string, to: string): string {
  const { code, errors } = transformSync(file, readFileSync(join(PACKAGES, file), 'utf8'), TRANSLATION);
  if (errors[0] !== undefined) throw errors[0];
  const translated = join(to, file.replace(/\.ts$/, '.js'));
  mkdirSync(dirname(translated), { recursive: true });
  writeFileSync(translated, code);
  return translated;
}

/** Makes programs import a package of npm, as if they were in one of our packages. */
function link(name: string, from: string, to: string): void {
  const { resolve } = createRequire(join(PACKAGES, from, 'package.json'));
  symlinkSync(dirname(resolve(`${name}/package.json`)), join(to, 'node_modules', name));
}

/**
 * The current source, for other processes: a build may be missing or outdated. Transpiled once, in the same way as
 * Vitest does it: in some milliseconds, where the compiler takes a second.
 */
function translateSources(): string {
  const to = mkdtempSync(join(tmpdir(), 'connections-'));
  writeFileSync(join(to, 'package.json'), '{"type":"module"}');
  mkdirSync(join(to, 'node_modules'));
  link('ws', 'connections', to);
  link('redis', 'connections-redis', to);
  for (const name of ['connections', 'connections-redis']) {
    for (const file of readdirSync(join(PACKAGES, name, 'src'), { recursive: true, encoding: 'utf8' }))
      if (file.endsWith('.ts')) translate(join(name, 'src', file), to);
  }
  return to;
}

/** A program of a `test/support` in its own process, which ends with the test. */
export class Program {
  readonly process: ChildProcess;
  readonly exited: Promise<{ status: number | null; signal: string | null }>;

  /** @param name its file, without the ending, after its package if that is another one; it communicates by messages */
  constructor(name: string, ...args: readonly string[]) {
    folder ??= translateSources();
    const [file, owner = 'connections'] = name.split('/').reverse() as [string, string?];
    const program = programs.get(name) ?? translate(join(owner, 'test', 'support', `${file}.ts`), folder);
    programs.set(name, program);
    this.process = fork(program, args, { execArgv: [] });
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (status, signal) => resolve({ status, signal }));
    });
    // SIGKILL also ends a stopped process.
    onTestFinished(() => void this.process.kill('SIGKILL'));
  }

  /** The next message that it sends. */
  async message(): Promise<unknown> {
    const [message] = (await once(this.process, 'message')) as [unknown];
    return message;
  }

  /** Sends a message to it; resolves with its next message. */
  async ask(question: object): Promise<unknown> {
    const answer = this.message();
    this.process.send(question);
    return answer;
  }
}
