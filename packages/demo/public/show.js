const POLL_INTERVAL_MS = 1_000;

/** What the server tells of itself, asked for again and again: any node can answer. */
export function pollShow(onState, onLost) {
  const poll = async () => {
    if (!document.hidden) {
      try {
        const response = await fetch('show/state', { signal: AbortSignal.timeout(3 * POLL_INTERVAL_MS) });
        if (!response.ok) throw new Error(`Status ${response.status}`);
        const { controls, state } = await response.json();
        // A node that has only just started has not heard of the others yet.
        if (state) onState(state, controls);
      } catch {
        onLost();
      }
    }
    setTimeout(() => void poll(), POLL_INTERVAL_MS);
  };
  void poll();
}

/** @returns what went wrong, as a sentence, or `undefined` */
export async function command(order) {
  try {
    const response = await fetch('show/control', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(order),
      signal: AbortSignal.timeout(3 * POLL_INTERVAL_MS),
    });
    return (await response.json()).problem;
  } catch {
    return 'The server does not answer.';
  }
}
