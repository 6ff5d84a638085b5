// NestJS 11: copy the adapter; gateways stay as they are.
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import { Controller, Get, Module, ServiceUnavailableException, type INestApplication } from '@nestjs/common';
import type { WsMessageHandler } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  AbstractWsAdapter,
  SubscribeMessage,
  WebSocketGateway,
  WebSocketServer as Pool,
} from '@nestjs/websockets';
import { acceptConnections, ConnectionsPool, gracefulShutdown, type Connection } from '@soketi/connections';
import type { Observable } from 'rxjs';
import { WebSocketServer } from 'ws';

/**
 * What `@WebSocketServer()` of a gateway gives you is the pool; its clients are connections. Messages are `{ event,
 * data }`.
 */
class ConnectionsAdapter extends AbstractWsAdapter {
  readonly #server: Server;
  readonly #webSocketServer = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
  readonly #pool = new ConnectionsPool({ heartbeat: true });
  readonly lifecycle;

  constructor(app: INestApplication) {
    super(app);
    const server = (this.#server = app.getHttpServer() as Server);
    const [webSocketServer, pool] = [this.#webSocketServer, this.#pool];
    this.lifecycle = gracefulShutdown({ server, webSocketServer, pool, drain: { maxPerSecond: 100 } });
    pool.on('error', (error) => console.error(error));
  }

  /** Nest calls it once for each path. All gateways share the pool, so give them the same path. */
  create(_port: number, { path = '/' }: { path?: string } = {}): ConnectionsPool {
    acceptConnections({
      server: this.#server,
      webSocketServer: this.#webSocketServer,
      pool: this.#pool,
      path,
      // Guards see messages, not the handshake. Check cookies or tokens here: see the two Express examples.
      authenticate: () => ({ id: randomUUID(), namespace: 'lobby' }),
    });
    return this.#pool;
  }

  override bindClientDisconnect(connection: Connection, callback: () => void): void {
    connection.on('close', callback);
  }

  bindMessageHandlers(connection: Connection, handlers: WsMessageHandler[], transform: Transform): void {
    connection.on('message', (message) => {
      const { event, data } = parse(message);
      const handler = handlers.find((each) => each.message === event);
      if (!handler) return;
      transform(handler.callback(data, event)).subscribe({
        next: (answer) => answer !== undefined && void connection.sendJson(answer),
        error: (error: unknown) => console.error(error),
      });
    });
  }

  /** Nest waits for this before it closes the HTTP server. */
  override async close(): Promise<void> {
    await this.lifecycle.shutdown();
  }
}

type Transform = (answer: unknown) => Observable<unknown>;

/** An error here belongs to one client: it must not end the process. */
function parse(message: string | Uint8Array): { event?: unknown; data?: unknown } {
  try {
    // `null` is valid JSON too.
    return (JSON.parse(String(message)) ?? {}) as { event?: unknown; data?: unknown };
  } catch {
    return {};
  }
}

@WebSocketGateway({ path: '/ws' })
class Chat {
  @Pool() readonly pool!: ConnectionsPool;

  @SubscribeMessage('say')
  say(_connection: Connection, text: string): void {
    void this.pool.broadcastJsonMessage('lobby', { event: 'said', data: text });
  }
}

@Controller()
class Probes {
  @Get('readyz')
  readyz(): void {
    if (!adapter.lifecycle.isReady) throw new ServiceUnavailableException();
  }
}

@Module({ providers: [Chat], controllers: [Probes] })
class AppModule {}

const app = await NestFactory.create(AppModule);
const adapter = new ConnectionsAdapter(app);
app.useWebSocketAdapter(adapter);
// On SIGTERM Nest calls `app.close()`. Without the option the signal then ends the process, which looks like a crash.
app.enableShutdownHooks(['SIGTERM', 'SIGINT'], { useProcessExit: true });
await app.listen(process.env['PORT'] ?? 8080);
console.log('Listening on', (app.getHttpServer() as Server).address());
