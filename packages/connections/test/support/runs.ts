/** `.ci/run` and GitHub Actions may take long; a developer does not want to wait. */
export const isCi = process.env['CI'] !== undefined || process.env['SOKETI_REQUIRE_ALL'] === '1';

/**
 * How often a random test runs: few times by default, many in CI.
 *
 * @param variable an environment variable that sets another number, for a hunt of an hour
 */
export function runs(
  { quick, ci }: { readonly quick: number; readonly ci: number },
  variable?: string,
): number {
  const wanted = variable === undefined ? undefined : process.env[variable];
  return wanted === undefined ? (isCi ? ci : quick) : Number(wanted);
}
