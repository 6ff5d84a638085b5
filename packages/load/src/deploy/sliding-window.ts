const SECOND_MS = 1_000;

/** The largest number of these times that lie within one second, wherever it begins. */
export function peakPerSecond(timesMs: readonly number[]): number {
  const sorted = [...timesMs].sort((a, b) => a - b);
  let peak = 0;
  let first = 0;
  for (const [last, atMs] of sorted.entries()) {
    while (atMs - (sorted[first] ?? atMs) >= SECOND_MS) first++;
    peak = Math.max(peak, last - first + 1);
  }
  return peak;
}

/** For each step of time, how many of these times lie within the second before it. */
export function perSecondOverTime(
  timesMs: readonly number[],
  { fromMs, toMs, stepMs }: { fromMs: number; toMs: number; stepMs: number },
): { atMs: number; count: number }[] {
  const series: { atMs: number; count: number }[] = [];
  for (let atMs = fromMs; atMs <= toMs; atMs += stepMs) {
    const count = timesMs.filter((timeMs) => timeMs <= atMs && timeMs > atMs - SECOND_MS).length;
    series.push({ atMs: atMs - fromMs, count });
  }
  return series;
}
