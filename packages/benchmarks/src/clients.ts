import { Session } from './clients/session.js';
import type { ClientCalls } from './load.js';
import { answer } from './rpc.js';

/** The process of all clients of one candidate. */
const session = new Session();

answer({
  connect: (settings) => session.connect(settings),
  arm: (load) => session.arm(load),
  finish: () => session.finish(),
  burst: (burst) => session.burst(burst),
} satisfies ClientCalls);
