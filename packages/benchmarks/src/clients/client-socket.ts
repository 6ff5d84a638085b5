import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { ClientSettings } from '../load.js';
import { frameAt, maskedTextFrame } from './frames.js';

/** RFC 6455 §1.3 */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** All sockets read into this one: what arrives is looked at before the next read. */
const shared = Buffer.allocUnsafeSlow(256 * 1024);

type Handler = (client: ClientSocket, buffer: Buffer, length: number) => void;

/**
 * One client: a TCP socket that does the handshake itself and hands on the bytes as they are, without a stream, a
 * buffer or an event per read.
 */
export class ClientSocket {
  readonly id: number;
  /** Bytes of the round so far, and turns that are complete: kept here for whoever checks them. */
  offset = 0;
  turn = 0;
  readonly #socket: Socket;

  private constructor(id: number, socket: Socket) {
    this.id = id;
    this.#socket = socket;
  }

  /** Resolves when the handshake is done; from then on `onData` gets the bytes. */
  static open(id: number, settings: ClientSettings, onData: Handler): Promise<ClientSocket> {
    return new Promise((resolve, reject) => {
      const handshake = new Handshake(id, settings);
      let client: ClientSocket | undefined;
      const callback = (length: number): boolean => {
        if (client !== undefined && handshake.isDone) {
          onData(client, shared, length);
          return true;
        }
        try {
          const answer = handshake.read(shared.subarray(0, length));
          if (answer) socket.write(answer);
          if (handshake.isDone) resolve((client = new ClientSocket(id, socket)));
        } catch (error) {
          reject(toError(error));
        }
        return true;
      };
      const socket = connect({
        port: settings.port,
        host: '127.0.0.1',
        noDelay: true,
        onread: { buffer: shared, callback },
      });
      socket.on('error', (error) => fellOff(id, error.message));
      socket.on('close', () => fellOff(id, 'its socket has closed'));
      socket.on('connect', () => socket.write(handshake.request));
    });
  }

  write(frame: Buffer): void {
    this.#socket.write(frame);
  }
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** A round without all of its clients means nothing. */
function fellOff(id: number, why: string): never {
  console.error(`Client ${id} fell off: ${why}`);
  process.exit(1);
}

/** RFC 6455 §4.1, and for Socket.IO what follows it: the Engine.IO session, and the join of the namespace. */
class Handshake {
  readonly request: string;
  readonly #settings: ClientSettings;
  readonly #key = randomBytes(16).toString('base64');
  #received = Buffer.alloc(0);
  #isUpgraded = false;
  isDone = false;

  constructor(id: number, settings: ClientSettings) {
    this.#settings = settings;
    const path = settings.protocol === 'socket.io' ? '/socket.io/?EIO=4&transport=websocket&' : '/?';
    const offer = { none: '', takeover: '', stateless: '; server_no_context_takeover' }[settings.compression];
    const isOffering = settings.compression !== 'none';
    this.request =
      `GET ${path}id=${id} HTTP/1.1\r\nHost: 127.0.0.1:${settings.port}\r\n` +
      `Connection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${this.#key}\r\n` +
      (isOffering ? `Sec-WebSocket-Extensions: permessage-deflate${offer}\r\n` : '') +
      '\r\n';
  }

  /** @returns what has to be answered */
  read(bytes: Buffer): Buffer | undefined {
    this.#received = Buffer.concat([this.#received, bytes]);
    if (!this.#isUpgraded && !this.#readUpgrade()) return undefined;
    if (this.#settings.protocol === 'socket.io') return this.#readSocketIo();
    this.#end();
    return undefined;
  }

  #readUpgrade(): boolean {
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const response = this.#received.toString('latin1', 0, end).toLowerCase();
    const accept = createHash('sha1')
      .update(this.#key + GUID)
      .digest('base64')
      .toLowerCase();
    if (!response.startsWith('http/1.1 101') || !response.includes(`sec-websocket-accept: ${accept}`)) {
      throw new Error(`Expected an upgrade, got ${response}`);
    }
    this.#checkCompression(response);
    this.#received = this.#received.subarray(end + 4);
    this.#isUpgraded = true;
    return true;
  }

  #checkCompression(response: string): void {
    const isCompressing = response.includes('permessage-deflate');
    const isStateless = response.includes('server_no_context_takeover');
    const agreed = !isCompressing ? 'none' : isStateless ? 'stateless' : 'takeover';
    if (agreed !== this.#settings.compression) {
      throw new Error(`Expected compression to be ${this.#settings.compression}, agreed was ${agreed}`);
    }
  }

  /** `0{…}` opens the session, `40` joins the namespace and `40{…}` confirms it. */
  #readSocketIo(): Buffer | undefined {
    let answer: Buffer | undefined;
    for (;;) {
      const frame = frameAt(this.#received, 0, this.#received.length);
      if (frame === undefined) return answer;
      const packet = this.#received.toString('latin1', frame.start, frame.end);
      this.#received = this.#received.subarray(frame.end);
      if (packet.startsWith('0{')) {
        answer = maskedTextFrame('40');
      } else if (packet.startsWith('40')) {
        this.#end();
        return answer;
      } else {
        throw new Error(`Expected a Socket.IO handshake, got ${packet}`);
      }
    }
  }

  #end(): void {
    if (this.#received.length > 0) throw new Error('Something was sent before the first round');
    this.isDone = true;
  }
}
