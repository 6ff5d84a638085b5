import { startServer } from './app.js';

const MAX_PORT = 65_535;

const { HOST, ALLOWED_ORIGINS = '' } = process.env;

try {
  const { url, chat } = await startServer({
    port: integer('PORT', { fallback: 8080, min: 0, max: MAX_PORT }),
    host: HOST || '127.0.0.1',
    drainPerSecond: integer('DRAIN_PER_SECOND', { fallback: 1000, min: 1, max: Number.MAX_SAFE_INTEGER }),
    allowedOrigins: ALLOWED_ORIGINS.split(',').flatMap((origin) => origin.trim() || []),
    // The process ends by itself, with status 0, when the shutdown has closed everything.
    signals: ['SIGTERM', 'SIGINT'],
  });
  chat.on('drain', ({ closed, terminated, left }) => {
    console.log(`Drained: ${closed} closed, ${terminated} terminated, ${left} left by themselves`);
  });
  console.log(`Listening on ${url}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

/** A variable that is not set or empty means its fallback; a wrong one must not pass as something else. */
function integer(name: string, { fallback, min, max }: Record<'fallback' | 'min' | 'max', number>): number {
  const text = process.env[name] || String(fallback);
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new RangeError(`Expected ${name} to be an integer of ${min} to ${max}, got \`${text}\``);
}
