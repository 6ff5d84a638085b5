import type { WebSocket } from 'ws';

/**
 * When the server closes this socket, in ms. Noted where it is called: a busy machine may show two closes that are
 * a second apart to their clients within less.
 */
export function noteClosing(socket: WebSocket): Promise<number> {
  const close = socket.close.bind(socket);
  return new Promise((resolve) => {
    socket.close = (...args) => {
      resolve(performance.now());
      close(...args);
    };
  });
}
