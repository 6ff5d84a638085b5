// Express 5 with sessions: users who have logged in may connect, for as long as their session lasts.
import { randomUUID } from 'node:crypto';
import { createServer, ServerResponse, type IncomingMessage } from 'node:http';
import {
  acceptConnections,
  ConnectionsPool,
  gracefulShutdown,
  type ConnectionOf,
  type WebSocketMessage,
} from '@soketi/connections';
import express, { type Request, type Response } from 'express';
import session from 'express-session';
import { WebSocketServer } from 'ws';

declare module 'express-session' {
  interface SessionData {
    user: string;
  }
}

const { PORT = 8080, SESSION_SECRET } = process.env;
if (!SESSION_SECRET) throw new Error('Set SESSION_SECRET');

const sessions = session({
  secret: SESSION_SECRET,
  resave: false,
  saveUninitialized: false,
  // `secure: 'auto'` needs `app.set('trust proxy', 1)` if a proxy ends TLS.
  cookie: { httpOnly: true, sameSite: 'lax', secure: 'auto', maxAge: 8 * 60 * 60 * 1000 },
  // The default store loses all sessions when the process ends. Set `store` to that of your database.
});

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
app.use(sessions);
app.post(
  '/login',
  express.json(),
  (request: Request<unknown, unknown, { user?: unknown } | undefined>, response) => {
    // Undefined if the request has no JSON body.
    const { user } = request.body ?? {};
    // Check a password here.
    if (typeof user !== 'string' || user === '') return void response.sendStatus(400);
    // A new session id: an attacker may have planted the old one before the login.
    request.session.regenerate((error) => {
      if (error) return void response.sendStatus(500);
      request.session.user = user;
      response.sendStatus(204);
    });
  },
);
app.post('/logout', (request, response) => {
  const rooms = [`session:${request.sessionID}`];
  // First, or a tab that connects meanwhile would stay connected.
  request.session.destroy((error) => {
    // The cookie is checked once, at the upgrade. Without this line, users who log out stay connected.
    void pool.closeAll('lobby', { rooms, code: 4401, reason: 'Logged out' });
    response.sendStatus(error ? 500 : 204);
  });
});

acceptConnections({
  server,
  webSocketServer,
  pool,
  path: '/ws',
  // Browsers send cookies from every page: `origins`, by default only this host, is what keeps other sites out.
  authenticate: async (request) => {
    const { user, sessionID, cookie } = await sessionOf(request);
    if (user === undefined) return false; // 401
    return {
      id: randomUUID(),
      namespace: 'lobby',
      // All tabs of a user: pool.broadcastMessage('lobby', message, { rooms: [`user:${user}`] })
      rooms: [`user:${user}`, `session:${sessionID}`],
      data: { user },
      // The connection ends with the session. `maxAge` is the time that remains.
      expiresAt: Date.now() + (cookie.maxAge ?? Infinity),
    };
  },
});

pool.on('connection', (connection) => {
  const { user } = connection.data;
  connection.on('message', (text) => void pool.broadcastJsonMessage('lobby', { user, text: String(text) }));
});
pool.on('error', (error) => console.error(error));

server.listen(Number(PORT), () => console.log('Listening on', server.address()));

/** Express does not see upgrades, so the middleware has to be run by hand. */
function sessionOf(request: IncomingMessage) {
  return new Promise<{ user: string | undefined; sessionID: string; cookie: session.Cookie }>(
    (resolve, reject) => {
      const asked = request as Request;
      void sessions(asked, new ServerResponse(request) as Response, (error) => {
        if (error) reject(error as Error);
        else resolve({ user: asked.session.user, sessionID: asked.sessionID, cookie: asked.session.cookie });
      });
    },
  );
}
