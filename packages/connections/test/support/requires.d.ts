/** Windows has no signals: a process there just ends by one. */
export declare const hasSignals: boolean;
/** Where on the `PATH` a program is, by the first of its names that is there. */
export declare function findProgram(...names: readonly string[]): string | undefined;
/**
 * A suite that needs programs which npm does not install, such as `redis-server`. Where one is missing the suite is
 * skipped, and its title says why; with `SOKETI_REQUIRE_ALL=1` it fails.
 */
export declare function describeWith(programs: readonly string[], title: string, suite: () => void): void;
//# sourceMappingURL=requires.d.ts.map