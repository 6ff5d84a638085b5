import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Runs a function outside of every `AsyncLocalStorage` context of the user.
 *
 * Timers and immediates that serve many connections are started by whichever request comes first. Without this they
 * would run in that request's context, and keep it alive.
 */
export const inOwnContext: <R>(fn: () => R) => R = AsyncLocalStorage.snapshot();
