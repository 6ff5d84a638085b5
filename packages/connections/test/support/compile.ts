import { mkdtemp, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type TypeScript from 'typescript';

/** The settings of a strict project, for its own code and for what it imports. */
const STRICT = {
  target: 'es2022',
  lib: ['es2023'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noPropertyAccessFromIndexSignature: true,
  skipLibCheck: false,
};

export interface Compiler {
  /** A package that contains TypeScript. */
  readonly name: string;
  readonly module: string;
  readonly moduleResolution?: string;
}

export interface Compiled {
  /** The new folder: the sources, and what they were compiled to. */
  readonly project: string;
  /** The messages of the compiler about all files in that folder, but not about Node's own types. */
  readonly complaints: string;
  /** All files that it has read. */
  readonly read: readonly string[];
}

/** Compiles sources, name -> text, in a new folder inside the one where what they import is installed. */
export async function compile(
  { name, ...modules }: Compiler,
  sources: Readonly<Record<string, string>>,
  folder: string,
): Promise<Compiled> {
  // If it were imported, all of it would be parsed again for its names.
  const ts = createRequire(import.meta.url)(name) as typeof TypeScript;
  const project = await mkdtemp(path.join(folder, 'project-'));
  const roots = Object.keys(sources).map((source) => path.join(project, source));
  for (const root of roots) await writeFile(root, sources[path.basename(root)]!);
  const { options, errors } = ts.convertCompilerOptionsFromJson({ ...STRICT, ...modules }, project);
  const host = ts.createCompilerHost(options);
  host.getCurrentDirectory = () => project;
  const program = ts.createProgram(roots, options, host);
  // One by one: otherwise all types of Node are checked first.
  for (const root of roots) program.emit(program.getSourceFile(root));
  const files = program.getSourceFiles();
  const diagnostics = [
    ...errors,
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...files
      .filter(({ fileName }) => path.normalize(fileName).startsWith(folder))
      .flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
  ];
  return {
    project,
    complaints: ts.formatDiagnostics(diagnostics, host),
    read: files.map(({ fileName }) => path.normalize(fileName)),
  };
}
