/** About 100 bytes, similar to the others. */
export function record(serial: number): string {
  const id = (serial * 2_654_435_761) % 2 ** 32;
  return `{"type":"message","room":"lobby","serial":${serial},"from":"user-${id}","text":"hello, everybody"}`;
}

export function records(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => record(from + index));
}
