/** Keeps a WebSocket open. Returns a function that ends it. */
export function stayConnected(url, { onOpen, onMessage, onFinal }) {
  // We left, broke the rules, are not logged in, not allowed, or connected somewhere else: do not come back by yourself.
  const finalCodes = new Set([1000, 1008, 4401, 4403, 4409]);
  let socket, timer, stable;
  let attempts = 0;
  const connect = () => {
    socket = new WebSocket(url);
    socket.onopen = () => {
      // Not at once: the server may accept us only to say 1013.
      stable = setTimeout(() => (attempts = 0), 10_000);
      onOpen?.(socket);
    };
    socket.onmessage = ({ data }) => onMessage?.(data);
    socket.onclose = ({ code, reason }) => {
      clearTimeout(stable);
      if (finalCodes.has(code)) return onFinal?.(code, reason);
      // 1012: a restart, which is paced already. 1013 and 4429: overloaded, stay away for longer.
      const baseMs = code === 1012 ? 500 : code === 1013 || code === 4429 ? 5_000 : 1_000;
      const maxMs = Math.min(30_000, baseMs * 2 ** attempts++);
      timer = setTimeout(connect, Math.random() * maxMs); // full jitter: any moment is as likely
    };
  };
  connect();
  return () => {
    clearTimeout(timer);
    clearTimeout(stable);
    socket.onclose = null;
    socket.close(1000);
  };
}
