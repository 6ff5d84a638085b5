import type { WebSocket } from 'ws';

/**
 * When the server closes this socket, in ms. Recorded at the call: on a busy machine, clients may see two closes within
 * less than the second that is between them.
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
