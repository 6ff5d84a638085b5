import { capitalized } from './dom.js';
import { stayConnected } from './stay-connected.js';

/**
 * The connection of this page to the chat. It comes back by itself, and says in words what happened.
 *
 * @param {object} on what to call: `welcome(message)`, `message(message)`, `away(text)`, `final(text)`, `news(text)`
 */
export function createConnection(on) {
  let socket;
  let stop;
  /** Where we are, and how and when we have lost it. */
  let node;
  let lost;

  const onOpen = (opened) => {
    socket = opened;
    socket.addEventListener('close', ({ code, reason }) => {
      if (socket !== opened) return;
      lost ??= { node, code, atMs: performance.now() };
      on.away(reason || `code ${code}`);
    });
  };
  const onMessage = (data) => {
    const message = JSON.parse(data);
    if (message.type !== 'welcome') return on.message(message);
    node = message.node;
    on.welcome(message);
    if (lost) on.news(describeReturn(lost, node));
    lost = undefined;
  };
  const onFinal = (code, reason) => {
    // Its listener above comes after this one.
    socket = undefined;
    stop = undefined;
    lost = undefined;
    on.final(
      code === 1000
        ? 'You have left.'
        : `The server has closed the connection: ${reason || 'no reason'} (${code}).`,
    );
  };

  return {
    get isOpen() {
      return socket?.readyState === WebSocket.OPEN;
    },
    get node() {
      return this.isOpen ? node : undefined;
    },
    open(namespace, name) {
      // Its close is ours, and no news.
      socket = undefined;
      stop?.();
      lost = undefined;
      const query = new URLSearchParams({ namespace, name });
      const url = `${location.origin.replace(/^http/, 'ws')}/ws?${query}`;
      stop = stayConnected(url, { onOpen, onMessage, onFinal });
    },
    leave() {
      socket = undefined;
      stop?.();
      stop = undefined;
      lost = undefined;
      on.final('You have left.');
    },
    /** @returns whether it was sent */
    send(message) {
      if (!this.isOpen) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
  };
}

/** What the close code says about the place that we come from. */
function describeReturn({ node, code, atMs }, now) {
  const seconds = ((performance.now() - atMs) / 1000).toFixed(1);
  const from = capitalized(node);
  const why =
    code === 1012
      ? `${from} restarts`
      : code === 1013
        ? `${from} had no room for us`
        : `${from} went away without a word (${code})`;
  const where = now === node ? `you are on ${now} again` : `you are on ${now} now`;
  return `${why}; ${where}. You were away for ${seconds} s.`;
}
