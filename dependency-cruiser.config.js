/*
 * The rooms of packages/connections/src, from the bottom to the top. A file imports from its own room and from the rooms
 * below it, and no imports go in a circle. Imports of types count. `npm run lint` checks it.
 */
const ROOMS = [
  ['errors', 'own-context', 'counters', 'drain-report', 'remote-connection', 'cluster/adapter'],
  ['close-codes', 'diagnostics', 'safe-emitter'],
  ['wire/'],
  ['sockets/'],
  ['arguments', 'audience', 'options', 'events'],
  ['sending/'],
  ['liveness/'],
  ['user-code'],
  ['receiving/'],
  ['connection-core'],
  ['connection'],
  ['namespace'],
  ['membership'],
  ['drain/'],
  ['pool-sends'],
  ['connections-pool'],
  ['interfaces'],
  ['ipc/'],
  ['ipc'],
  ['index'],
];

/** A pattern of the files in these rooms: a name is that of a file, or of a folder if it ends in a slash. */
function filesOf(rooms) {
  const names = rooms.flat().map((name) => (name.endsWith('/') ? name : `${name}[.]ts$`));
  return `^src/(${names.join('|')})`;
}

const upwards = ROOMS.slice(0, -1).map((room, floor) => ({
  name: `upward-from-${room[0].replace('/', '')}`,
  severity: 'error',
  from: { path: filesOf([room]) },
  to: { path: filesOf(ROOMS.slice(floor + 1)) },
}));

export default {
  forbidden: [
    ...upwards,
    { name: 'circle', severity: 'error', from: {}, to: { circular: true } },
    // A new file or folder has to be given its place above.
    { name: 'importer-in-no-room', severity: 'error', from: { pathNot: filesOf(ROOMS) }, to: {} },
    {
      name: 'imported-in-no-room',
      severity: 'error',
      from: {},
      to: { path: '^src/', pathNot: filesOf(ROOMS) },
    },
  ],
  options: { tsPreCompilationDeps: true },
};
