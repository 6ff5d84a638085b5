import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type TypeScript from 'typescript';
import { PACKAGE } from './docs.js';

const ts = createRequire(import.meta.url)('typescript') as typeof TypeScript;

const manifest = JSON.parse(readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')) as {
  readonly exports: Readonly<Record<string, unknown>>;
};

type Documented =
  | TypeScript.ClassDeclaration
  | TypeScript.InterfaceDeclaration
  | TypeScript.TypeAliasDeclaration
  | TypeScript.FunctionDeclaration
  | TypeScript.VariableDeclaration;
type Member = TypeScript.ClassElement | TypeScript.TypeElement | TypeScript.ObjectLiteralElementLike;

/** One name that the package exports. */
export interface ExportedName {
  readonly name: string;
  /** It cannot be used as a value, like a class that only the library makes. */
  readonly isType: boolean;
  readonly declaration: Documented;
}

/** The titles of the kinds, in the order of the page. */
const KINDS: readonly (readonly [title: string, kinds: readonly TypeScript.SyntaxKind[]])[] = [
  ['Classes', [ts.SyntaxKind.ClassDeclaration]],
  ['Functions', [ts.SyntaxKind.FunctionDeclaration]],
  ['Values', [ts.SyntaxKind.VariableDeclaration]],
  [
    'Options, events, results and other types',
    [ts.SyntaxKind.InterfaceDeclaration, ts.SyntaxKind.TypeAliasDeclaration],
  ],
];

/** All paths that can be imported, except `package.json`. */
const DOORS = Object.keys(manifest.exports).filter((door) => !door.endsWith('.json')) as ['.', ...string[]];

const TAGS: Readonly<Record<string, string>> = {
  param: '',
  typeParam: '',
  returns: 'Returns:',
  throws: 'Throws',
  default: 'Default:',
  see: 'See',
};

const INTRODUCTION = `# API

Everything that \`@soketi/connections\` exports, made from the docstrings that your editor shows too. Ids, messages and data
have types of your choice: see [extending](extending.md).
`;

const sourceOf = (door: string): string =>
  path.join(PACKAGE, 'src', door === '.' ? 'index.ts' : `${path.basename(door)}.ts`);

const program = ts.createProgram(DOORS.map(sourceOf), {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  strict: true,
  types: ['node'],
});
const checker = program.getTypeChecker();

/** Every export of the package, in the order of its entry points. */
export function exportedNames(): ExportedName[] {
  return DOORS.flatMap(exportsOf);
}

function exportsOf(door: string): ExportedName[] {
  const module = checker.getSymbolAtLocation(program.getSourceFile(sourceOf(door))!)!;
  return checker.getExportsOfModule(module).map((symbol) => {
    const { flags, declarations = [] } = symbol;
    const target = flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const isType = declarations.some((from) => ts.isExportSpecifier(from) && isTypeOnly(from));
    return { name: symbol.name, isType, declaration: target.declarations![0] as Documented };
  });
}

function isTypeOnly(specifier: TypeScript.ExportSpecifier): boolean {
  return specifier.isTypeOnly || specifier.parent.parent.isTypeOnly;
}

/** The page that describes each export. */
export function apiPage(): string {
  const [main, ...others] = DOORS;
  const groups = KINDS.map(([title, kinds]) => {
    const names = exportsOf(main).filter(({ declaration }) => kinds.includes(declaration.kind));
    return `## ${title}\n\n${names.map(sectionOf).join('\n\n')}`;
  });
  const doors = others.map((door) => {
    return `## ${path.posix.join('@soketi/connections', door)}\n\n${exportsOf(door).map(sectionOf).join('\n\n')}`;
  });
  return `${INTRODUCTION}\n${[...groups, ...doors].join('\n\n')}\n`;
}

function sectionOf({ name, isType, declaration }: ExportedName): string {
  const commented = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  const also = exportedBasesOf(declaration).map((base) => `[${base}](#${base.toLowerCase()})`);
  const inherits = also.length === 0 ? '' : `Has the members of ${also.join(' and ')} too.`;
  const parts = [
    `### ${name}`,
    signatureOf(name, declaration),
    textOf(commented),
    inherits,
    listOf(declaration, isType),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

/** An export without its own members is shown as it is written. */
function signatureOf(name: string, declaration: Documented): string {
  if (ts.isFunctionDeclaration(declaration)) return `\`${headOf(declaration)}\``;
  if (!ts.isTypeAliasDeclaration(declaration)) return '';
  if (ts.isUnionTypeNode(declaration.type) && jsDocOf(declaration.type.types[0]!) !== '') return '';
  return `\`${name}\` is \`${squeeze(declaration.type.getText())}\`.`;
}

/** Its members, each with its text. */
function listOf(declaration: Documented, isType: boolean): string {
  return membersOf(declaration)
    .filter((member) => !(isType && ts.isConstructorDeclaration(member)))
    .map((member) => {
      const text = textOf(member);
      return `- \`${headOf(member)}\`${text === '' ? '' : `\n\n${text.replaceAll(/^(?=.)/gm, '  ')}`}`;
    })
    .join('\n');
}

function membersOf(declaration: Documented): readonly (Member | TypeScript.TypeNode)[] {
  if (ts.isInterfaceDeclaration(declaration)) return [...inheritedBy(declaration), ...declaration.members];
  if (ts.isClassDeclaration(declaration)) return publicMembers(declaration);
  if (ts.isTypeAliasDeclaration(declaration) && ts.isUnionTypeNode(declaration.type)) {
    const { types } = declaration.type;
    const documented = types.filter((type) => jsDocOf(type) !== '');
    if (documented.length !== 0 && documented.length !== types.length)
      throw new Error(`Expected a docstring for each part of ${declaration.name.text}, or for none`);
    return documented;
  }
  if (!ts.isVariableDeclaration(declaration)) return [];
  const { initializer } = declaration;
  const object = initializer && ts.isAsExpression(initializer) ? initializer.expression : initializer;
  return object && ts.isObjectLiteralExpression(object) ? object.properties : [];
}

/** The interface that an interface extends, if it has its own section. */
function exportedBasesOf(declaration: Documented): string[] {
  if (!ts.isInterfaceDeclaration(declaration)) return [];
  const isExported = new Set(exportedNames().map(({ name }) => name));
  const bases = declaration.heritageClauses?.flatMap(({ types }) => types) ?? [];
  return bases.map(({ expression }) => expression.getText()).filter((name) => isExported.has(name));
}

/** The members that an interface takes from one that is not exported, such as the counters of `stats()`. */
function inheritedBy(declaration: TypeScript.InterfaceDeclaration): readonly TypeScript.TypeElement[] {
  const isExported = new Set(exportedNames().map(({ name }) => name));
  const bases = declaration.heritageClauses?.flatMap(({ types }) => types) ?? [];
  return bases.flatMap((base) => {
    const properties = checker.getTypeAtLocation(base).getProperties();
    const declarations = properties.flatMap((property) => property.declarations ?? []);
    return declarations
      .filter(ts.isPropertySignature)
      .filter(({ parent }) => !ts.isInterfaceDeclaration(parent) || !isExported.has(parent.name.text));
  });
}

/** Its own members and those of the library's classes that it extends, once each. */
function publicMembers(declaration: TypeScript.ClassDeclaration): readonly TypeScript.ClassElement[] {
  const base = declaration.heritageClauses?.[0]?.types[0]?.expression;
  const parent = base && checker.getSymbolAtLocation(base);
  const resolved = parent && parent.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(parent) : parent;
  const parentClass = resolved?.declarations?.find(ts.isClassDeclaration);
  const own = declaration.members.filter((member) => isPublic(member));
  const names = new Set(own.map((member) => member.name?.getText()));
  const isOurs = parentClass?.getSourceFile().fileName.includes('/connections/src/') ?? false;
  const inherited = isOurs ? publicMembers(parentClass!) : [];
  return [...own, ...inherited.filter((member) => !names.has(member.name?.getText()))];
}

const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected | ts.ModifierFlags.Abstract;

function isPublic(member: TypeScript.ClassElement): boolean {
  if (ts.isClassStaticBlockDeclaration(member) || (member.name && ts.isPrivateIdentifier(member.name)))
    return false;
  if (member.name && ts.isComputedPropertyName(member.name)) return false;
  if (ts.getCombinedModifierFlags(member) & HIDDEN) return false;
  if (!ts.isMethodDeclaration(member) || member.body === undefined) return true;
  // The implementation of overloads is not a signature.
  const symbol = checker.getSymbolAtLocation(member.name);
  return (symbol?.declarations?.length ?? 1) === 1;
}

/** The text without body and comments, as one line. */
function headOf(node: TypeScript.Node): string {
  const body = (node as { body?: TypeScript.Node }).body ?? (node as { initializer?: undefined }).initializer;
  const start = node.getStart();
  const isValue = ts.isPropertyAssignment(node);
  const text = node.getSourceFile().text.slice(start, body && !isValue ? body.getStart() : node.end);
  return squeeze(text)
    .replace(/^(?:export |declare |override |async |readonly |function )+/g, '')
    .replace(/^get (\w+)\(\)/, '$1')
    .replace(/[;,=]+\s*$/, '')
    .replace(/^(\w+\?: .*) \| undefined$/, '$1')
    .trim();
}

function squeeze(text: string): string {
  return text
    .replaceAll(/\/\*\*[^]*?\*\//g, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/([([<]) | (?=[)\]>])/g, '$1')
    .replaceAll(/,(?=[)\]>])/g, '')
    .replaceAll(/(\w): \| /g, '$1: ')
    .trim();
}

/** The position before its comments. Those of a part of a union precede its `|`. */
function startOf(node: TypeScript.Node): number {
  const { parent } = node;
  if (!ts.isUnionTypeNode(parent)) return node.pos;
  const before = parent.types[parent.types.indexOf(node as TypeScript.TypeNode) - 1];
  return before?.end ?? parent.pos;
}

/** The docstring without stars; `''` without one. */
function jsDocOf(node: TypeScript.Node): string {
  const ranges = ts.getLeadingCommentRanges(node.getSourceFile().text, startOf(node)) ?? [];
  const texts = ranges.map(({ pos, end }) => node.getSourceFile().text.slice(pos, end));
  const doc = texts.findLast((text) => text.startsWith('/**')) ?? '';
  return doc
    .replace(/\s*\*\/$/, '')
    .replaceAll(/^\/\*\*|^ *\* ?/gm, '')
    .replaceAll(/\{@link (\w+)\}/g, '`$1`')
    .trim();
}

/** The docstring as paragraphs. */
function textOf(node: TypeScript.Node): string {
  const [text = '', ...tags] = jsDocOf(node).split(
    /(?:^|\s)@(?=(?:param|typeParam|returns|throws|default|see)\b)/,
  );
  const lines = tags.map((tag) => {
    const [, name = '', content = ''] = /^(\w+)\s*([^]*)$/.exec(tag)!;
    return `- ${`${TAGS[name]} ${labelled(name, squeezeLines(content))}`.trim()}`;
  });
  const paragraphs = text.split(/\n\s*\n/).map((part) => (part.includes('```') ? part : squeezeLines(part)));
  return [...paragraphs, lines.join('\n')].filter((part) => part !== '').join('\n\n');
}

function labelled(tag: string, text: string): string {
  if (tag === 'param' || tag === 'typeParam') return text.replace(/^(\w+)/, '`$1`:');
  return tag === 'throws' ? text.replace(/^\{([^}]*)\}/, (_, type: string) => `\`${type}\`:`) : text;
}

function squeezeLines(text: string): string {
  return text
    .trim()
    .replaceAll(/\n\s*\n/g, '\n')
    .replaceAll('\n', ' ');
}
