export declare const PACKAGE: string;
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
/** What the package ships: its README and `docs`. */
export declare const pages: readonly Page[];
/** What only the repository has. */
export declare const otherPages: readonly Page[];
/** A page of the docs by its name. */
export declare function page(name: string): Page;
export declare function codeBlocks({ file, text }: Page): CodeBlock[];
/** The first block of a page that contains the text. */
export declare function blockWith(name: string, part: string): string;
/** Without code, where brackets are no links. */
export declare function proseOf({ text }: Page): string;
/** As GitHub and npm make them of headings. */
export declare function anchorsOf({ text }: Page): Set<string>;
//# sourceMappingURL=docs.d.ts.map