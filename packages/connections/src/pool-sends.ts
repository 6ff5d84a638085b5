import { assertNamespace } from './arguments.js';
import { assertSendOptions, type SendOptions } from './audience.js';
import { assertCloseArguments, CloseCode } from './close-codes.js';
import type { AnyConnection, Connection } from './connection.js';
import type { PoolEvents } from './events.js';
import { SafeEmitter } from './safe-emitter.js';
import { encodeError, encodeJson } from './wire/message.js';

/**
 * The methods of a pool that address one connection by its namespace and id.
 *
 * Mistakes in arguments are reported whether or not such a connection exists.
 */
export abstract class PoolSends<Message, ConnectionType extends AnyConnection> extends SafeEmitter<
  PoolEvents<ConnectionType>,
  ConnectionType
> {
  /** The connection that has the id in the namespace now. */
  abstract getConnection(namespace: string, id: ConnectionType['id']): ConnectionType | undefined;

  /** @throws {TypeError} nobody in the pool can be sent the message */
  protected abstract assertMessage(message: unknown): void;

  /** `Connection.send` to one connection. @returns `false` also if there is none */
  async send<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    options?: SendOptions,
  ): Promise<boolean> {
    this.assertMessage(message);
    return this.#find(namespace, id)?.send(message, ...conflateOf(options)) ?? false;
  }

  /** `Connection.sendJson` to one connection. @returns `false` also if there is none */
  async sendJson<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    value: M,
    options?: SendOptions,
  ): Promise<boolean> {
    const conflate = conflateOf(options);
    return this.#find(namespace, id)?.sendJson(value, ...conflate) ?? nobody(encodeJson(value));
  }

  /** `Connection.sendError` to one connection. @returns `false` also if there is none */
  async sendError<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean> {
    if (code !== undefined) return this.sendErrorThenClose(namespace, id, message, code, reason);
    return this.#find(namespace, id)?.sendError(message) ?? nobody(encodeError(message));
  }

  /** `Connection.sendThenClose` to one connection. @returns `false` also if there is none */
  async sendThenClose<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    this.assertMessage(message);
    return this.#find(namespace, id)?.sendThenClose(message, code, reason) ?? false;
  }

  /** `Connection.sendJsonThenClose` to one connection. @returns `false` also if there is none */
  async sendJsonThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    value: M,
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    return this.#find(namespace, id)?.sendJsonThenClose(value, code, reason) ?? nobody(encodeJson(value));
  }

  /** `Connection.sendErrorThenClose` to one connection. @returns `false` also if there is none */
  async sendErrorThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code: number = CloseCode.InternalError,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    const connection = this.#find(namespace, id);
    return connection?.sendErrorThenClose(message, code, reason) ?? nobody(encodeError(message));
  }

  /** `Connection.close` of one connection, if there is one. */
  async close(
    namespace: string,
    id: ConnectionType['id'],
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<void> {
    assertCloseArguments(code, reason);
    await this.#find(namespace, id)?.close(code, reason);
  }

  #find(namespace: string, id: ConnectionType['id']): Connection<unknown, Message> | undefined {
    assertNamespace(namespace);
    return this.getConnection(namespace, id) as Connection<unknown, Message> | undefined;
  }
}

/** What the connection is given of the options. */
function conflateOf(options: SendOptions | undefined): [] | [{ readonly conflate: string }] {
  assertSendOptions(options, ['conflate', 'local']);
  return options?.conflate === undefined ? [] : [{ conflate: options.conflate }];
}

/** Nobody is there. The message was encoded all the same, so that a mistake in it is reported. */
function nobody(_encoded: unknown): boolean {
  return false;
}
