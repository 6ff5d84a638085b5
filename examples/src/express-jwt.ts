// Express 5 with a JWT: in a cookie for browsers, which cannot set headers of a WebSocket; as a bearer token for others.
import { createSecretKey, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import {
  acceptConnections,
  ConnectionsPool,
  gracefulShutdown,
  type ConnectionOf,
  type WebSocketMessage,
} from '@soketi/connections';
import express, { type Request } from 'express';
import { jwtVerify, SignJWT } from 'jose';
import { WebSocketServer } from 'ws';

const { PORT = 8080, JWT_SECRET = '' } = process.env;
if (JWT_SECRET.length < 32) throw new Error('Set JWT_SECRET to at least 32 characters');
const key = createSecretKey(Buffer.from(JWT_SECRET));
const LIFETIME_S = 15 * 60;

const app = express();
const server = createServer(app);
const webSocketServer = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
const pool = new ConnectionsPool<WebSocketMessage, ConnectionOf<{ user: string }>>({ heartbeat: true });
const lifecycle = gracefulShutdown({
  server,
  webSocketServer,
  pool,
  drain: { maxPerSecond: 100 },
  signals: ['SIGTERM', 'SIGINT'],
});

app.get('/readyz', (_request, response) => void response.sendStatus(lifecycle.isReady ? 200 : 503));
app.post(
  '/login',
  express.json(),
  async (request: Request<unknown, unknown, { user?: unknown } | undefined>, response) => {
    // Undefined if the request has no JSON body.
    const { user } = request.body ?? {};
    // Check a password here.
    if (typeof user !== 'string' || user === '') return void response.sendStatus(400);
    const token = await new SignJWT()
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(user)
      .setExpirationTime(`${LIFETIME_S} s`)
      .sign(key);
    // Not in the URL of the WebSocket: proxies write URLs into their logs. Add `secure: true` when you have TLS.
    response.cookie('token', token, { httpOnly: true, sameSite: 'lax', maxAge: LIFETIME_S * 1000 });
    response.json({ token });
  },
);

acceptConnections({
  server,
  webSocketServer,
  pool,
  path: '/ws',
  // Browsers send cookies from every page: `origins`, by default only this host, is what keeps other sites out.
  authenticate: async (request) => {
    const claims = await claimsOf(tokenOf(request));
    if (claims?.sub === undefined || claims.exp === undefined) return false; // 401
    return {
      id: randomUUID(),
      namespace: 'lobby',
      rooms: [`user:${claims.sub}`],
      data: { user: claims.sub },
      // Without this, a connection outlives its token. It closes with 4401, and the client gets a new token before it
      // connects again.
      expiresAt: claims.exp * 1000,
    };
  },
});

pool.on('connection', (connection) => {
  const { user } = connection.data;
  connection.on('message', (text) => void pool.broadcastJsonMessage('lobby', { user, text: String(text) }));
});
pool.on('error', (error) => console.error(error));

server.listen(Number(PORT), () => console.log('Listening on', server.address()));

function tokenOf({ headers }: IncomingMessage): string {
  const bearer = /^Bearer (\S+)$/i.exec(headers.authorization ?? '');
  return bearer?.[1] ?? /(?:^|;\s*)token=([^;]*)/.exec(headers.cookie ?? '')?.[1] ?? '';
}

async function claimsOf(token: string) {
  try {
    // Name the algorithms: never let the token choose how it is checked.
    return (await jwtVerify(token, key, { algorithms: ['HS256'] })).payload;
  } catch {
    return undefined; // forged, expired or missing: not a fault of ours
  }
}
