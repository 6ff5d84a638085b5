import { expected } from '../errors.js';
import { BunDriver } from './bun.js';
import type { Driver } from './driver.js';
import { HandlersDriver } from './handlers.js';
import type { Capabilities, NativeConnectionHandlers } from './native-websocket.js';
import { StandardDriver } from './standard.js';
import { UwsDriver } from './uws.js';
import { isWsServerSocket, WsDriver } from './ws.js';

const drivers = new Map<string, Driver>();

/**
 * Finds out what kind of socket this is and what it can do.
 *
 * @throws {TypeError} the socket is not an object, or lacks `send` or `close` and no handlers replace them
 */
export function driverOf(socket: unknown, handlers: NativeConnectionHandlers<never> | undefined): Driver {
  if ((typeof socket !== 'object' && typeof socket !== 'function') || socket === null) {
    throw new TypeError(expected('a WebSocket-like object', socket));
  }
  const has: Has = (name) => typeof (socket as Record<string, unknown>)[name] === 'function';
  if (handlers === undefined && !(has('send') && has('close'))) {
    throw new TypeError(expected('a socket with send() and close(), or handlers that replace them', socket));
  }
  const driver = socketDriver(socket, has);
  return handlers === undefined ? driver : new HandlersDriver(handlers, driver);
}

function kindOf(socket: object, events: Capabilities['events'], has: Has): typeof StandardDriver {
  if (has('getBufferedAmount') && has('end')) return UwsDriver;
  // Others that their owner feeds may have a `send` whose number means something else.
  if (has('getBufferedAmount') || (events === 'owner' && has('cork') && has('publish'))) return BunDriver;
  return isWsServerSocket(socket) ? WsDriver : StandardDriver;
}

type Has = (name: string) => boolean;

function socketDriver(socket: object, has: Has): Driver {
  const events = has('on') ? 'emitter' : has('addEventListener') ? 'event-target' : 'owner';
  const Kind = kindOf(socket, events, has);
  const capabilities: Capabilities = {
    events,
    terminate: Kind === UwsDriver || has('terminate'),
    ping: has('ping'),
    bufferedAmount: has('getBufferedAmount') || 'bufferedAmount' in socket,
    readyState: 'readyState' in socket,
    cork: has('cork'),
    pause: has('pause') && has('resume'),
  };
  const key = `${Kind.name} ${Object.values(capabilities).join()}`;
  let driver = drivers.get(key);
  if (driver === undefined) drivers.set(key, (driver = new Kind(Object.freeze(capabilities))));
  return driver;
}
