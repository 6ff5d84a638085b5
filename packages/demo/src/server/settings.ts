const MAX_PORT = 65_535;
const MAX_NODES = 8;

/** The settings in the environment. */
export interface Settings {
  readonly port: number;
  readonly host: string;
  readonly drainPerSecond: number;
  readonly allowedOrigins: readonly string[];
  readonly nodes: number;
  readonly redisUrl: string | undefined;
  readonly natsUrl: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A variable that is missing or empty means its default; a wrong one is an error.
 *
 * @throws {RangeError} a value is not a number, or is out of range
 * @throws {TypeError} two brokers
 */
export function readSettings(environment: Environment): Settings {
  const { HOST, ALLOWED_ORIGINS = '', REDIS_URL, NATS_URL } = environment;
  if (REDIS_URL && NATS_URL) throw new TypeError('Expected REDIS_URL or NATS_URL, not both');
  const integer = (name: string, fallback: number, min: number, max: number): number => {
    const text = environment[name] || String(fallback);
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new RangeError(`Expected ${name} to be an integer of ${min} to ${max}, got \`${text}\``);
  };
  return {
    port: integer('PORT', 8080, 0, MAX_PORT),
    host: HOST || '127.0.0.1',
    drainPerSecond: integer('DRAIN_PER_SECOND', 100, 1, Number.MAX_SAFE_INTEGER),
    allowedOrigins: ALLOWED_ORIGINS.split(',').flatMap((origin) => origin.trim() || []),
    nodes: integer('NODES', 3, 1, MAX_NODES),
    redisUrl: REDIS_URL || undefined,
    natsUrl: NATS_URL || undefined,
  };
}
