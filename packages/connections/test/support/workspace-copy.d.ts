export declare const ROOT: string;
/**
 * A copy of the workspace in a temporary folder, without its builds and its tests: for what would disturb the tests
 * that run meanwhile, such as a pack, which builds anew, or an error made on purpose. The caller removes it.
 */
export declare function copyWorkspace(): Promise<string>;
interface Output {
    readonly stdout: string;
    readonly stderr: string;
}
/** Resolves with what the command prints. Fails with all of it when the command does. */
export declare function run(command: string, args: readonly string[], cwd: string, env?: NodeJS.ProcessEnv): Promise<Output>;
export {};
//# sourceMappingURL=workspace-copy.d.ts.map