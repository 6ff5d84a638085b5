/*
 * The server as `npm start` runs it: below a shell. A SIGTERM to npm alone ends only that shell, and the server would
 * live on and keep its port. So the loss of the parent counts as a SIGTERM, unless the server is draining already, as
 * after Ctrl-C, which reaches them all.
 */
import './start.js';

const CHECK_INTERVAL_MS = 200;

const parent = process.ppid;
const check = setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM');
}, CHECK_INTERVAL_MS).unref();

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => clearInterval(check));
