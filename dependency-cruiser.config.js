/*
 * The rooms of packages/connections/src, from the bottom to the top. A file imports from its own room and from the rooms
 * below it, and no imports go in a circle. Imports of types count. `npm run lint` checks it.
 */
export const ROOMS = [
  ['errors', 'fifo', 'own-context', 'counters', 'closing-state', 'drain-report', 'remote-connection'],
  ['cluster/adapter', 'cluster/cluster-info', 'cluster/cluster-stats'],
  ['close-codes', 'diagnostics', 'safe-emitter'],
  ['wire/'],
  ['sockets/'],
  ['arguments', 'audience', 'close-all', 'cluster/cluster-options', 'options', 'policy', 'events'],
  ['sending/'],
  ['liveness/'],
  ['cluster/'],
  ['user-code'],
  ['receiving/'],
  ['room-member'],
  ['connection-core'],
  ['connection'],
  ['namespace', 'registry'],
  ['room-membership'],
  ['membership'],
  ['upgrades/'],
  ['drain/'],
  ['local-members', 'pool-cluster', 'pool-link', 'pool-sends'],
  ['connections-pool'],
  ['accepting/'],
  ['interfaces'],
  ['ipc/'],
  ['index', 'testing', 'ipc'],
];
/** Files with a place of their own, apart from their folder. */
const APART = ROOMS.flat().filter((name) => /.[/]./.test(name));

/** A pattern of the files in these rooms: a name is that of a file, or of a folder if it ends in a slash. */
function filesOf(rooms) {
  const names = rooms.flat().map((name) => {
    if (!name.endsWith('/')) return `${name}[.]ts$`;
    const apart = APART.filter((file) => file.startsWith(name)).map((file) => file.slice(name.length));
    return apart.length > 0 ? `${name}(?!(${apart.join('|')})[.]ts$)` : name;
  });
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
