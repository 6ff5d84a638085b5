/** Resolves when the promise has settled either way, or that time is over. The timer keeps the process alive. */
export async function settledWithin(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise.catch(() => undefined), limit]);
  clearTimeout(timer);
}
