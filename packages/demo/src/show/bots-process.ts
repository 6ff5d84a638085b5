/*
 * The bots: clients in a process of their own, with the reconnect function that the documentation gives to pages.
 */
import { WebSocket } from 'ws';
import { MAX_SLOW_READERS, type FromBots, type ToBots } from './state.js';
import { BOTS, botsPerStep, SLOW_READERS, STEP_INTERVAL_MS } from './traffic.js';

const REPORT_INTERVAL_MS = 250;
/** A slow reader does not notice that the server has closed it, because it does not read. */
const SLOW_READER_LIFE_MS = 30_000;

type StayConnected = (url: string, handlers: object) => () => void;

let open = 0;
let failed = 0;
let wanted = 0;
let botNames = 0;
let slowReaderNames = 0;
let slowReaders = 0;
const stops: (() => void)[] = [];
const [, , url = '', rate] = process.argv;
const perStep = botsPerStep(Number(rate));
const random = Math.random;

/** The client of `ws`, which like that of a browser throws nothing if nobody listens to its errors. */
class BotSocket extends WebSocket {
  constructor(url: string) {
    super(url, { perMessageDeflate: false });
    this.on('error', () => failed++);
  }
}

/** As `stayConnected` makes it. */
class CountedSocket extends BotSocket {
  constructor(url: string) {
    super(url);
    this.on('open', () => {
      open++;
      this.on('close', () => open--);
    });
  }
}

Object.assign(globalThis, { WebSocket: CountedSocket });
const { href } = new URL('../../public/stay-connected.js', import.meta.url);
const { stayConnected } = (await import(href)) as { stayConnected: StayConnected };

const urlOf = (namespace: string, name: string): string =>
  `${url.replace(/^http/, 'ws')}/ws?${new URLSearchParams({ namespace, name }).toString()}`;

setInterval(() => {
  for (let step = 0; step < perStep && stops.length < wanted; step++)
    stops.push(stayConnected(urlOf(BOTS, `Bot ${++botNames}`), {}));
  for (let step = 0; step < perStep && stops.length > wanted; step++) stops.pop()?.();
}, STEP_INTERVAL_MS);

setInterval(() => {
  process.send?.({ open, failed, slowReaders } satisfies FromBots);
}, REPORT_INTERVAL_MS);

process.on('message', (message: ToBots) => {
  if (message.bots === 'count') wanted = message.count;
  else if (message.bots === 'slow reader') readSlowly();
  // What pages without such a function do: they reconnect at the moment in which they are closed.
  else Math.random = message.isOn ? () => 0 : random;
});
process.on('disconnect', () => process.exit());

/** Connects, and never reads. */
function readSlowly(): void {
  if (slowReaders === MAX_SLOW_READERS) return;
  slowReaders++;
  const socket = new BotSocket(urlOf(SLOW_READERS, `Slow reader ${++slowReaderNames}`));
  socket.once('open', () => {
    socket.pause();
    setTimeout(() => socket.terminate(), SLOW_READER_LIFE_MS);
  });
  socket.once('close', () => slowReaders--);
}
