import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { answer, settled } from '../harness/index.js';
import {
  CLOSE_ME,
  POOLS,
  POPULATION,
  ROOMS,
  type PoolName,
  type Seen,
  type SoakClientsCalls,
} from './calls.js';

/** How long a client stays, in ms. */
const STAY_MS = { steady: [200, 2_500], lossy: [3_000, 8_000], strict: [1_000, 6_000] } as const;
/** How long a slow reader reads nothing, in ms. */
const PAUSE_MS = [2_000, 4_000] as const;
/** How long all clients may take to leave, in ms. */
const LEAVE_MS = 30_000;
/** Between two messages of a client, in ms. */
const TALK_MS = 50;
/** The share of joins that use the id of a connected client. */
const DUPLICATES = 0.05;

const newSeen = (): Seen => ({ opened: 0, closed: 0, received: 0, sent: 0, missing: 0, codes: {} });
const seen: Record<PoolName, Seen> = { steady: newSeen(), lossy: newSeen(), strict: newSeen() };
const wrong: string[] = [];
let port = 0;
let untilMs = 0;
let next = 0;
let open = 0;
/** The id and room of a client, for the next duplicate. */
let last = { room: 0, id: 'nobody' };

const between = ([low, high]: readonly [number, number]): number => low + Math.random() * (high - low);

/** Checks the order of what one client receives. */
class Positions {
  readonly #id: string;
  readonly #seen: Seen;
  /** The positions of the broadcasts of its room, and of its private messages. */
  #broadcast = -1;
  #private = 0;

  constructor(id: string, counts: Seen) {
    this.#id = id;
    this.#seen = counts;
  }

  receive(data: Buffer, isBinary: boolean): void {
    this.#seen.received++;
    if (isBinary) {
      this.#next(data.readUInt32BE());
      if (data.length !== 64 * 1024 || data.at(-1) !== (data.readUInt32BE() & 0xff))
        this.#fail('a wrong body');
      return;
    }
    const text = data.toString();
    const [kind, value] = text.split(':');
    if (kind === 'b') this.#next(Number(value));
    else if (kind === 'x' && value === this.#id) this.#fail('a broadcast that it was excepted from');
    else if (kind === 'p' && Number(value) !== this.#private++) this.#fail(`private message ${value ?? ''}`);
  }

  #next(position: number): void {
    if (this.#broadcast >= 0 && position <= this.#broadcast) this.#fail(`broadcast ${position} again`);
    if (this.#broadcast >= 0) this.#seen.missing += position - this.#broadcast - 1;
    this.#broadcast = position;
  }

  #fail(what: string): void {
    wrong.push(`${this.#id} received ${what}, behind ${this.#broadcast} and ${this.#private - 1}`);
  }
}

function join(name: PoolName): void {
  let room = Math.floor(Math.random() * ROOMS[name]);
  let id = `${name}-${next++}`;
  if (name === 'steady') {
    if (Math.random() < DUPLICATES) ({ room, id } = last);
    else last = { room, id };
  }
  const counts = seen[name];
  const socket = new WebSocket(`ws://127.0.0.1:${port}/${name}/${room}/${id}`, { perMessageDeflate: false });
  const positions = new Positions(id, counts);
  open++;
  socket.on('message', (data, isBinary) => positions.receive(data as Buffer, isBinary));
  // The strict pool expects resets; in the others they show in the close codes.
  socket.on('error', () => undefined);
  socket.on('open', () => {
    counts.opened++;
    void live(name, socket);
  });
  socket.on('close', (code) => {
    open--;
    counts.closed++;
    counts.codes[code] = (counts.codes[code] ?? 0) + 1;
    if (performance.now() < untilMs) join(name);
  });
}

async function live(name: PoolName, socket: WebSocket): Promise<void> {
  const leaveMs = Math.min(untilMs, performance.now() + between(STAY_MS[name]));
  const isSlow = name !== 'steady' && Math.random() < 0.6;
  if (isSlow) {
    socket.pause();
    await delay(between(PAUSE_MS));
    socket.resume();
  }
  while (performance.now() < leaveMs) {
    if (name === 'steady') talk(name, socket, `hello ${Math.random()}`);
    await delay(TALK_MS + Math.random() * TALK_MS);
  }
  leave(name, socket);
}

function talk(name: PoolName, socket: WebSocket, text: string): void {
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(text);
  seen[name].sent++;
}

function leave(name: PoolName, socket: WebSocket): void {
  const chance = Math.random();
  if (name === 'strict' && chance < 0.5) socket.terminate();
  else if (name === 'steady' && chance < 0.3) talk(name, socket, CLOSE_ME);
  else socket.close(chance < 0.6 ? 1000 : 3001, 'Enough');
}

answer({
  async run(settings) {
    port = settings.port;
    untilMs = performance.now() + settings.ms;
    for (const name of POOLS) for (let joined = 0; joined < POPULATION[name]; joined++) join(name);
    await delay(settings.ms);
    const left = await settled(() => open, 0, LEAVE_MS);
    if (left > 0) wrong.push(`${left} clients have not left`);
    if (wrong.length > 0) throw new Error(wrong.slice(0, 10).join('\n'));
    return seen;
  },
} satisfies SoakClientsCalls);
