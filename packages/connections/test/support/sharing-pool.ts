import { Connection, ConnectionsPool, type ConnectionsPoolOptions } from '../../src/index.js';
import { FakeWsSocket, type FakeAgreement } from './fake-ws-socket.js';
import { StrictReader, type TappedMessage } from './strict-reader.js';

const EXTENSIONS = {
  none: '',
  takeover: 'permessage-deflate',
  stateless: 'permessage-deflate; server_no_context_takeover',
};

/** A member in memory, and what its peer has read. */
export interface SharingMember {
  readonly connection: Connection;
  readonly socket: FakeWsSocket;
  /** @throws {Error} the stream breaks RFC 6455 or RFC 7692, or refers to something that its peer does not have */
  readonly read: () => readonly TappedMessage[];
  readonly texts: () => readonly string[];
}

/** A pool with a shared compression history, and a function that adds members in memory. */
export function sharingPool(options: ConnectionsPoolOptions = {}): {
  readonly pool: ConnectionsPool;
  /** @param change makes something else of the socket before it is wrapped */
  readonly join: (
    id: string,
    agreement?: FakeAgreement | 'none',
    change?: (socket: FakeWsSocket) => unknown,
  ) => SharingMember;
} {
  const pool = new ConnectionsPool({ compression: { history: { bytes: 2_048 } }, ...options });
  const join = (
    id: string,
    agreement: FakeAgreement | 'none' = 'takeover',
    change?: (socket: FakeWsSocket) => unknown,
  ): SharingMember => {
    const socket = new FakeWsSocket(agreement === 'none' ? undefined : agreement);
    change?.(socket);
    const connection = new Connection(id, 'default', socket);
    void pool.newConnection(connection);
    const read = (): readonly TappedMessage[] => {
      const reader = new StrictReader(EXTENSIONS[agreement]);
      reader.read(socket._socket.bytes);
      if (reader.violation) throw reader.violation;
      return reader.messages;
    };
    return { connection, socket, read, texts: () => read().map(({ message }) => message.toString()) };
  };
  return { pool, join };
}
