import { byId, capitalized, element, formatBytes, formatNumber, setText } from './dom.js';
import { command } from './show.js';

/** Rates are means of so long. */
const RATE_WINDOW_MS = 4_000;

const count = formatNumber;
const bytes = formatBytes;
const perSecond = (format) => (value) => `${format(value)} /s`;
const ms = (value) => (value === undefined ? 'not yet' : `${formatNumber(value)} ms`);

/** What is shown, for people: each figure has a name, where it comes from, and what it means. */
const GROUPS = [
  {
    title: 'Connected',
    figures: [
      ['Connections', ({ pool }) => count(pool.connections), 'open now'],
      ['Namespaces', ({ pool }) => count(pool.namespaces), 'that have connections, counted on each node'],
      ['Rooms', ({ pool }) => count(pool.rooms), 'one of them for each user, counted on each node'],
      ['Closing', ({ pool }) => count(pool.closing), 'whose close has begun'],
    ],
  },
  {
    title: 'Slow readers',
    figures: [
      [
        'Slow readers now',
        ({ pool }) => count(pool.slowNow),
        'one more message would exceed the bound of 1 MiB',
      ],
      ['Slow readers so far', ({ pool }) => count(pool.slowReaders), 'times that somebody became one'],
      ['Held back', ({ pool }) => count(pool.conflated), 'latest values that waited for a reader'],
      ['Never sent', ({ pool }) => count(pool.superseded), 'of those: a newer value took their place'],
      ['Dropped', ({ pool }) => count(pool.dropped), 'messages refused for slow readers'],
    ],
  },
  {
    title: 'Messages',
    figures: [
      ['Sent', ({ rate }) => perSecond(count)(rate.messagesSent), 'one for each recipient'],
      ['Writes', ({ rate }) => perSecond(count)(rate.writes), 'one carries all messages of a turn'],
      ['Received', ({ rate }) => perSecond(count)(rate.messagesReceived), 'from clients'],
      ['Above the limit', ({ pool }) => count(pool.rateLimited), 'of 50 messages a second: closed with 1008'],
    ],
  },
  {
    title: 'Bytes',
    figures: [
      ['Messages as frames', ({ rate }) => perSecond(bytes)(rate.bytesSent), 'before compression'],
      ['On the wire', ({ rate }) => perSecond(bytes)(rate.wireBytesSent), 'written for them'],
      ['Sent so far', ({ pool }) => bytes(pool.wireBytesSent), 'on the wire'],
      ['Received', ({ rate }) => perSecond(bytes)(rate.bytesReceived), 'payload'],
    ],
  },
  {
    title: 'Alive',
    figures: [
      [
        'Round trip, median',
        ({ roundTrips }) => ms(roundTrips?.median),
        'ping to pong of the last heartbeats',
      ],
      ['Round trip, p99', ({ roundTrips }) => ms(roundTrips?.p99), '99 of 100 are faster'],
      ['Pings', ({ rate }) => perSecond(count)(rate.pings), 'one for each connection in 10 s'],
      ['Lost', ({ pool }) => count(pool.heartbeatsLost), 'that did not answer in time'],
    ],
  },
  {
    title: 'Relay to the other nodes',
    figures: [
      ['State', ({ relayState }) => relayState, 'whether nodes hear each other'],
      ['Round trip', ({ relay }) => ms(relay.roundTripMs), 'from publishing to the echo'],
      ['Batches', ({ relayRate }) => perSecond(count)(relayRate.batches), 'published'],
      ['Messages', ({ relayRate }) => perSecond(count)(relayRate.messages), 'in these batches'],
      ['Waiting', ({ relay }) => bytes(relay.queuedBytes), 'for the broker'],
      ['Lost', ({ relay }) => count(relay.dropped + relay.gaps), 'dropped here, or on the way here'],
    ],
  },
];

export function startPool() {
  const values = new Map();
  /** What was counted in the last seconds, by process: the oldest first. */
  const history = new Map();
  byId('figures').append(
    ...GROUPS.map(({ title, figures }) => {
      const list = element('dl');
      for (const [name, read, meaning] of figures) {
        const value = element('dd', { textContent: '–' });
        values.set(read, value);
        list.append(
          element(
            'div',
            {},
            element('dt', { textContent: name }),
            value,
            element('dd', { className: 'hint', textContent: meaning }),
          ),
        );
      }
      return element('section', { className: 'card' }, element('h3', { textContent: title }), list);
    }),
  );
  byId('slow-reader').addEventListener('click', async () => {
    const problem = await command({ do: 'slow reader' });
    setText(byId('pool-problem'), problem ?? 'It is connected, and does not read. Watch "Slow readers now".');
  });

  return (state) => {
    const chosen = showChoice(state.nodes);
    const nodes = state.nodes.filter(
      ({ node, report }) => report && (chosen === 'all' || `${node}` === chosen),
    );
    remember(history, state.nodes);
    if (nodes.length === 0) return;
    const rates = nodes.map(({ pid, report }) => ratesOf(report, history.get(pid)[0]));
    const figures = {
      pool: sum(nodes.map(({ report }) => report.pool)),
      rate: sum(rates.map(({ pool }) => pool)),
      relay: {
        ...sum(nodes.map(({ report }) => report.relay)),
        roundTripMs: Math.max(...nodes.map(({ report }) => report.relay.roundTripMs)),
      },
      relayRate: sum(rates.map(({ relay }) => relay)),
      relayState: [...new Set(nodes.map(({ report }) => report.relayState))].join(', '),
      roundTrips: nodes.map(({ report }) => report.roundTrips).reduce(worse, undefined),
    };
    for (const [read, value] of values) setText(value, read(figures));
  };
}

function showChoice(nodes) {
  const select = byId('pool-node');
  if (select.options.length !== nodes.length + 1)
    select.replaceChildren(
      new Option('All nodes', 'all'),
      ...nodes.map(({ node, name }) => new Option(capitalized(name), String(node))),
    );
  return select.value;
}

function remember(history, nodes) {
  const reporting = nodes.filter(({ report }) => report);
  const pids = new Set(reporting.map(({ pid }) => pid));
  for (const pid of history.keys()) if (!pids.has(pid)) history.delete(pid);
  for (const { pid, report } of reporting) {
    const reports = history.get(pid) ?? [];
    history.set(pid, reports);
    if (reports.at(-1)?.at !== report.at) reports.push(report);
    while (reports[0].at < report.at - RATE_WINDOW_MS) reports.shift();
  }
}

/** Of each counter, how much it grew in a second. */
function ratesOf(report, before) {
  const seconds = (report.at - before.at) / 1000;
  const perSecond = (figures, earlier) =>
    Object.fromEntries(
      Object.entries(figures).map(([name, value]) => [
        name,
        seconds > 0 ? Math.max(0, value - earlier[name]) / seconds : 0,
      ]),
    );
  return { pool: perSecond(report.pool, before.pool), relay: perSecond(report.relay, before.relay) };
}

function sum(records) {
  const total = {};
  for (const record of records)
    for (const [name, value] of Object.entries(record)) total[name] = (total[name] ?? 0) + value;
  return total;
}

function worse(a, b) {
  if (!a || !b) return a ?? b;
  return { median: Math.max(a.median, b.median), p99: Math.max(a.p99, b.p99) };
}
