import { assertId, assertNamespace } from './arguments.js';
import { assertSendOptions, type SendOptions } from './audience.js';
import { assertCloseArguments, CloseCode, type Closing } from './close-codes.js';
import { Connection, type AnyConnection } from './connection.js';
import type { PoolEvents } from './events.js';
import { SafeEmitter } from './safe-emitter.js';
import { encodeError, encodeJson, type ImmediateMessage } from './wire/message.js';

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

  /** The other nodes of the cluster; `undefined` if the pool is alone. */
  protected abstract readonly elsewhere: Elsewhere | undefined;

  /** `Connection.send` to one connection. @returns `false` if there is no such connection, too */
  async send<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    options?: SendOptions,
  ): Promise<boolean> {
    this.assertMessage(message);
    const conflate = conflateOf(options);
    const connection = this.#find(namespace, id, options);
    return connection?.send(message, ...conflate) ?? this.#sendElsewhere(namespace, id, message, options);
  }

  /** `Connection.sendJson` to one connection. @returns `false` if there is no such connection, too */
  async sendJson<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    value: M,
    options?: SendOptions,
  ): Promise<boolean> {
    const conflate = conflateOf(options);
    const connection = this.#find(namespace, id, options);
    return (
      connection?.sendJson(value, ...conflate) ??
      this.#sendElsewhere(namespace, id, encodeJson(value), options)
    );
  }

  /** `Connection.sendError` to one connection. @returns `false` if there is no such connection, too */
  async sendError<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code?: number,
    reason?: string,
  ): Promise<boolean> {
    if (code !== undefined) return this.sendErrorThenClose(namespace, id, message, code, reason);
    const connection = this.#find(namespace, id);
    return connection?.sendError(message) ?? this.#sendElsewhere(namespace, id, encodeError(message));
  }

  /** `Connection.sendThenClose` to one connection. @returns `false` if there is no such connection, too */
  async sendThenClose<M extends Message = Message>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    this.assertMessage(message);
    const connection = this.#find(namespace, id);
    return (
      connection?.sendThenClose(message, code, reason) ??
      this.#sendElsewhere(namespace, id, message, undefined, { code, reason })
    );
  }

  /** `Connection.sendJsonThenClose` to one connection. @returns `false` if there is no such connection, too */
  async sendJsonThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    value: M,
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    const connection = this.#find(namespace, id);
    return (
      connection?.sendJsonThenClose(value, code, reason) ??
      this.#sendElsewhere(namespace, id, encodeJson(value), undefined, { code, reason })
    );
  }

  /** `Connection.sendErrorThenClose` to one connection. @returns `false` if there is no such connection, too */
  async sendErrorThenClose<M = unknown>(
    namespace: string,
    id: ConnectionType['id'],
    message: M,
    code: number = CloseCode.InternalError,
    reason = '',
  ): Promise<boolean> {
    assertCloseArguments(code, reason);
    const connection = this.#find(namespace, id);
    return (
      connection?.sendErrorThenClose(message, code, reason) ??
      this.#sendElsewhere(namespace, id, encodeError(message), undefined, { code, reason })
    );
  }

  /** `Connection.close` of one connection, if there is one. On another node it resolves when that has begun to close it. */
  async close(
    namespace: string,
    id: ConnectionType['id'],
    code: number = CloseCode.Normal,
    reason = '',
  ): Promise<void> {
    assertCloseArguments(code, reason);
    const connection = this.#find(namespace, id);
    await (connection?.close(code, reason) ?? this.elsewhere?.close(namespace, id, { code, reason }));
  }

  /** Most events of a pool are about a connection. */
  protected override subjectOf(argument: unknown): ConnectionType | undefined {
    return argument instanceof Connection ? (argument as unknown as ConnectionType) : undefined;
  }

  /** @returns the connection that takes what is sent; one that is closing is not asked if another node may have the id */
  #find(
    namespace: string,
    id: ConnectionType['id'],
    options?: SendOptions,
  ): Connection<unknown, Message> | undefined {
    assertNamespace(namespace);
    assertId(id);
    const connection = this.getConnection(namespace, id) as Connection<unknown, Message> | undefined;
    return connection?.closed && this.elsewhere !== undefined && !options?.local ? undefined : connection;
  }

  /** The message is encoded even if nobody has the id, so that a mistake in it is reported. */
  async #sendElsewhere(
    namespace: string,
    id: ConnectionType['id'],
    message: unknown,
    options?: SendOptions,
    close?: Closing,
  ): Promise<boolean> {
    if (this.elsewhere === undefined || options?.local) return false;
    this.assertMessage(message);
    return this.elsewhere.send(namespace, id, message as ImmediateMessage, options?.conflate, close);
  }
}

/** The other nodes of a cluster. Nothing here rejects because of the network. */
export interface Elsewhere {
  /** @returns whether another node has handed it over */
  send(
    namespace: string,
    id: unknown,
    message: ImmediateMessage,
    conflate: string | undefined,
    close: Closing | undefined,
  ): Promise<boolean>;
  /** Resolves when another node has begun to close it, or nobody answers. */
  close(namespace: string, id: unknown, close: Closing): Promise<void>;
}

/** The options that are passed to the connection. */
function conflateOf(options: SendOptions | undefined): [] | [{ readonly conflate: string }] {
  assertSendOptions(options, ['conflate', 'local']);
  return options?.conflate === undefined ? [] : [{ conflate: options.conflate }];
}
