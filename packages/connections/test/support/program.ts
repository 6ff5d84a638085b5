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
import ts from 'typescript';
import { onTestFinished } from 'vitest';

const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));
const COMPILER_OPTIONS = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };

/**
 * Translates the present source and one program for a process of its own: a build may be missing, or an old one.
 *
 * @returns the file to run
 */
function translate(program: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'connections-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const translateFile = (file: string): string => {
    const { outputText } = ts.transpileModule(readFileSync(join(PACKAGE, file), 'utf8'), {
      compilerOptions: COMPILER_OPTIONS,
    });
    const translated = join(folder, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(translated), { recursive: true });
    writeFileSync(translated, outputText);
    return translated;
  };
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  mkdirSync(join(folder, 'node_modules'));
  const ws = dirname(createRequire(import.meta.url).resolve('ws/package.json'));
  symlinkSync(ws, join(folder, 'node_modules', 'ws'));
  for (const file of readdirSync(join(PACKAGE, 'src'))) translateFile(join('src', file));
  return translateFile(join('test', 'support', `${program}.ts`));
}

/** A program of this folder in a process of its own, which ends with the test. */
export class Program {
  readonly process: ChildProcess;
  readonly exited: Promise<{ status: number | null; signal: string | null }>;

  /** @param name its file, without the ending; it talks by messages */
  constructor(name: string, ...args: readonly string[]) {
    this.process = fork(translate(name), args, { execArgv: [] });
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (status, signal) => resolve({ status, signal }));
    });
    // SIGKILL ends a stopped process too.
    onTestFinished(() => void this.process.kill('SIGKILL'));
  }

  /** The next message that it sends. */
  async message(): Promise<unknown> {
    const [message] = (await once(this.process, 'message')) as [unknown];
    return message;
  }

  /** Sends it a message; resolves with the next one of its own. */
  async ask(question: object): Promise<unknown> {
    const answer = this.message();
    this.process.send(question);
    return answer;
  }
}
