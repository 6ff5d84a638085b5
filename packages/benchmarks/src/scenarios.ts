import type { KindName } from './kinds.js';
import { afresh, inRegistries, onTheSameFleets, type Group, type Row } from './measure.js';
import type { Options } from './options.js';
import { ACTIVE } from './rooms.js';

const ALL = ['soketi', 'ws-loop', 'crossws', 'socket.io', 'raw', 'uws'] as const;
/** The floor does not compress, and its memory is not that of a real server. */
const SERVERS = ['soketi', 'ws-loop', 'crossws', 'socket.io', 'uws'] as const;
const ON_WS = ['soketi', 'ws-loop'] as const;
const ROOMS = ['soketi', 'crossws', 'socket.io', 'uws'] as const;
const HISTORY = ['soketi', 'soketi-history', 'ws-loop'] as const;

const CPU = { candidates: ALL, compression: 'none', method: onTheSameFleets, metrics: ['cpu'] } as const;
const DEFLATE = { ...CPU, metrics: ['cpu', 'bytes'] } as const;
const LATENCY = { ...CPU, metrics: ['p50', 'p99'] } as const;
const REGISTRY = { ...CPU, candidates: ['soketi'], method: inRegistries, metrics: ['nanos'] } as const;
const MEMORY = { ...CPU, candidates: SERVERS, method: afresh, metrics: ['heap', 'rss'] } as const;
const CONTEXTS = {
  ...MEMORY,
  candidates: ['soketi-history', 'ws-loop'],
  compression: 'takeover',
  rounds: 1,
} as const;

type What = Omit<Group, 'title' | 'connections' | 'rows'>;

const group = (title: string, connections: number, what: What, rows: readonly Row[]): Group => {
  return { title, connections, ...what, rows };
};

/** 64 B of text and as fast as the clients follow, unless a row says otherwise. */
const row = (key: string, label: string, turn: readonly KindName[], rest: Partial<Row> = {}): Row => {
  return { key, label, turn, bytes: 64, body: 'text', ...rest };
};

const times = (count: number, kind: KindName): KindName[] => Array.from({ length: count }, () => kind);
const size = (bytes: number): string => (bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`);
const count = (value: number): string => value.toLocaleString('en-US');

/** The sizes and messages per turn that are measured for that many connections, unless all are requested. */
const FAN_OUT = new Map([
  [10, ['64/1', '64/10', '16384/1']],
  [1_000, ['64/1', '64/10', '64/50', '1024/1', '1024/10', '16384/1']],
  [10_000, ['64/1', '64/10']],
]);
const FULL_FAN_OUT = [64, 1024, 16_384].flatMap((bytes) => [1, 10, 50].map((turn) => `${bytes}/${turn}`));

function fanOutRow(connections: number, combination: string): Row {
  const [bytes = 0, perTurn = 0] = combination.split('/').map(Number);
  const label = `${size(bytes)}, ${perTurn} per turn`;
  return row(`fan-out/${connections}/${combination}`, label, times(perTurn, 'broadcast'), { bytes });
}

const jsonRow = (key: string, label: string, bytes: number): Row =>
  row(`${key}/${bytes}`, `${size(bytes)} JSON, ${label}`, ['broadcast'], { bytes, body: 'json' });

function burstRow(senders: number): Row {
  const label = `${senders} clients broadcast at once to 1,000`;
  const paced = { gapMs: 20, warmUp: 1, turns: 4 };
  return row(`latency/burst/${senders}`, label, times(senders, 'relayed'), { paced });
}

/** What each turn sends; `kinds.ts` says what the server calls for it, and which clients must receive it. */
export const SCENARIOS: Readonly<Record<string, (options: Options) => readonly Group[]>> = {
  'fan-out': ({ isFull }) =>
    [...FAN_OUT].map(([connections, chosen]) => {
      const rows = (isFull ? FULL_FAN_OUT : chosen).map((combination) => fanOutRow(connections, combination));
      return group(`Fan-out to ${count(connections)} connections`, connections, CPU, rows);
    }),

  deflate: () => [
    group(
      'permessage-deflate, 500 connections',
      500,
      { ...DEFLATE, candidates: SERVERS, compression: 'stateless' },
      [
        jsonRow('deflate/stateless', 'no context takeover', 1024),
        jsonRow('deflate/stateless', 'no context takeover', 2048),
        jsonRow('deflate/stateless', 'no context takeover', 16_384),
      ],
    ),
    group(
      'permessage-deflate, 500 connections',
      500,
      { ...DEFLATE, candidates: HISTORY, compression: 'takeover' },
      [
        jsonRow('deflate/takeover', 'context takeover', 256),
        jsonRow('deflate/takeover', 'context takeover', 1024),
        jsonRow('deflate/takeover', 'context takeover', 2048),
        jsonRow('deflate/takeover', 'context takeover', 16_384),
      ],
    ),
  ],

  mixed: () => {
    const [three, two] = [times(3, 'broadcast'), times(2, 'broadcast')];
    return [
      group('Mixed, 1,000 connections, 64 B', 1_000, CPU, [
        row('mixed/last', '5 broadcasts, then 1 private to each', [...three, ...two, 'private']),
        row('mixed/middle', '3 broadcasts, 1 private to each, 2 broadcasts', [...three, 'private', ...two]),
      ]),
    ];
  },

  exceptions: () => [
    group('Exceptions, 1,000 connections, 64 B', 1_000, CPU, [
      row('exceptions/1/1', '1 left out, 1 per turn', ['all but 1']),
      row('exceptions/1/10', '1 left out, 10 per turn', times(10, 'all but 1')),
      row('exceptions/100/1', '100 left out, 1 per turn', ['all but 100']),
      row('exceptions/100/10', '100 left out, 10 per turn', times(10, 'all but 100')),
    ]),
  ],

  // One group each: a server does one thing with received messages.
  rooms: () => [
    group('A room of all 1,000 connections, 64 B', 1_000, { ...CPU, candidates: ROOMS }, [
      row('rooms/namespace/1', 'to the namespace, 1 per turn', ['broadcast']),
      row('rooms/all/1', 'to the room of all, 1 per turn', ['to the room of all']),
      row('rooms/namespace/10', 'to the namespace, 10 per turn', times(10, 'broadcast')),
      row('rooms/all/10', 'to the room of all, 10 per turn', times(10, 'to the room of all')),
    ]),
    group('100 rooms of 10 connections, 64 B', 1_000, { ...CPU, candidates: ROOMS }, [
      row('rooms/tens', '10 messages to each room per turn', times(10 * ACTIVE.tens, 'to a room of ten')),
    ]),
    group('1,000 connections in 20 of 200 rooms each, 64 B', 1_000, { ...CPU, candidates: ROOMS }, [
      row('rooms/many', '1 message to 50 of the rooms per turn', times(ACTIVE.many, 'to one of many rooms')),
    ]),
  ],

  receiving: () => [
    group('From 100 clients, 64 B, 20 per write', 100, { ...CPU, candidates: ON_WS }, [
      row('receiving/inbound', 'received by a listener', times(20, 'inbound')),
    ]),
    group('From 100 clients, 64 B, 20 per write', 100, { ...CPU, candidates: ON_WS }, [
      row('receiving/echo', 'received and sent back', times(20, 'echo')),
    ]),
  ],

  latency: () => {
    // Long enough for server and clients to become idle.
    const paced = { gapMs: 2, warmUp: 100, turns: 200 };
    return [
      group('Latency, 64 B', 10, LATENCY, [
        row('latency/lone', 'lone broadcast to 10', ['broadcast'], { paced }),
      ]),
      group('Latency, 64 B', 1_000, LATENCY, [burstRow(10), burstRow(50)]),
    ];
  },

  registry: () => [
    group('Registry, 50,000 connections in 100 namespaces', 50_000, REGISTRY, [
      row('registry/create', 'create', []),
      row('registry/add', 'add', []),
      row('registry/find', 'look up', []),
      row('registry/remove', 'remove', []),
    ]),
  ],

  memory: ({ isQuick }) => {
    const connections = isQuick ? 1_000 : 5_000;
    const title = `Memory, ${count(connections)} connections`;
    // After these, every socket has its final compression state.
    const paced = { gapMs: 0, warmUp: 0, turns: 3 };
    const contexts = jsonRow('memory/contexts', 'after 3 broadcasts with context takeover', 1024);
    return [
      group(title, connections, MEMORY, [row('memory/idle', 'idle', [])]),
      group(title, connections, CONTEXTS, [{ ...contexts, paced }]),
    ];
  },
};
