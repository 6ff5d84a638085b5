export { redisAdapter, type RedisAdapterOptions } from './redis-adapter.js';
export type { IoredisClient } from './ioredis.js';
export type { NodeRedisClient } from './node-redis.js';
