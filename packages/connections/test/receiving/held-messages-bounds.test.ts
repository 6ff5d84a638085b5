import assert from 'node:assert/strict';
import { expect, test, vi } from 'vitest';
import { HeldMessages } from '../../src/receiving/held-messages.js';

const KIB = 1024;
/** By default it looks every 50 ms. */
const SOON = { timeout: 5_000, interval: 1 };

/** Held messages of an owner in memory, and the calls that the owner gets. */
function holding(canPause = true) {
  const told: string[] = [];
  const owner = {
    wantsMessages: false,
    deliver: (message: unknown): void => void told.push(String(message)),
    admit: () => true,
    failed: (error: unknown): void => void told.push(`failed: ${String(error)}`),
    pause: () => {
      told.push('pause');
      return canPause;
    },
    resume: () => void told.push('resume'),
    emptied: () => void told.push('emptied'),
  };
  const held = new HeldMessages(owner, 0);
  const add = (bytes: number, isLimited = false): boolean => held.add('x', false, bytes, isLimited);
  return { told, owner, held, add };
}

/** A `Blob` that cannot be read. */
function brokenBlob(bytes: number): Blob {
  const blob = new Blob(['x'.repeat(bytes)]);
  vi.spyOn(blob, 'arrayBuffer').mockRejectedValue('broken');
  return blob;
}

test('up to 64 KiB are held before the socket is paused', () => {
  const { told, held, add } = holding();
  expect([add(64 * KIB), told.length, held.isPaused]).toEqual([true, 0, false]);
  expect([add(1), told, held.isPaused, held.length]).toEqual([true, ['pause'], true, 2]);
});

test('up to 1,024 messages are held before the socket is paused, however small they are', () => {
  const { told, add } = holding();
  for (let i = 0; i < 1_024; i++) assert(add(0));
  expect(told).toEqual([]);
  add(0);
  expect(told).toEqual(['pause']);
});

test('a paused socket may still deliver 4 MiB, and each message counts 128 bytes more than its payload', () => {
  const { add } = holding();
  add(0, true);
  expect(add(4 * KIB * KIB - 2 * 128)).toBe(true);
  expect(add(0)).toBe(true);
  expect(add(0)).toBe(false);
});

test('a socket that cannot be paused loses messages above the bound, and all that wait for the rate limit', () => {
  const { held, add } = holding(false);
  const isHeld = [add(64 * KIB), add(1), held.addBlob(new Blob(['x']), true), add(0, true)];
  expect(isHeld).toEqual([true, false, false, false]);
  expect([held.length, held.isPaused]).toEqual([1, false]);
});

// Only Blobs that wait for the rate limit were counted against the bound: 300 of 1 MiB were held without a listener.
test('Blobs without a listener count like other messages', () => {
  const { told, held } = holding();
  const blob = new Blob([new Uint8Array(KIB * KIB)]);
  const isHeld = Array.from({ length: 6 }, () => held.addBlob(blob, false));
  expect(isHeld).toEqual([true, true, true, true, false, false]);
  expect([told, held.length]).toEqual([['pause'], 4]);
  held.drop();
});

test('Blobs without a listener are lost beyond the bound if the socket cannot be paused', () => {
  const { held } = holding(false);
  const blob = new Blob([new Uint8Array(40 * KIB)]);
  expect([held.addBlob(blob, false), held.addBlob(blob, false), held.length]).toEqual([true, false, 1]);
  held.drop();
});

test('with a listener, neither a Blob nor what follows it is lost: they only wait until it has been read', async () => {
  const { told, owner, held, add } = holding(false);
  owner.wantsMessages = true;
  owner.deliver = (message) => void told.push(`${(message as Uint8Array).length} bytes`);
  const blob = new Blob([new Uint8Array(5 * KIB * KIB)]);
  expect([held.addBlob(blob, false), add(1), held.addBlob(blob, false)]).toEqual([true, true, true]);
  await vi.waitUntil(() => told.includes('emptied'), SOON);
  expect(told.slice(3)).toEqual(['5242880 bytes', '1 bytes', '5242880 bytes', 'emptied']);
});

test('a Blob that cannot be read makes room for other messages', async () => {
  const { told, held, add } = holding();
  held.addBlob(brokenBlob(64 * KIB), false);
  await vi.waitUntil(() => told.length > 0, SOON);
  expect(told).toEqual(['failed: broken', 'emptied']);
  expect([add(64 * KIB), held.isPaused]).toEqual([true, false]);
});

test('a Blob that waits for the rate limit and cannot be read does not hold up later messages', async () => {
  const { told, held } = holding();
  held.addBlob(brokenBlob(1), true);
  expect(held.hasLimited).toBe(true);
  await vi.waitUntil(() => held.length === 0, SOON);
  expect(held.hasLimited).toBe(false);
  expect(told).toEqual(['pause', 'failed: broken', 'resume', 'emptied']);
});

test('a Blob that cannot be read does not affect messages that wait for the rate limit', async () => {
  const { told, held, add } = holding();
  add(1, true);
  held.addBlob(brokenBlob(1), false);
  await vi.waitUntil(() => held.length === 1, SOON);
  expect(held.hasLimited).toBe(true);
  held.drop();
  expect([told, held.hasLimited]).toEqual([['pause', 'failed: broken', 'resume'], false]);
});

test('the socket is resumed once, when everything has been delivered', () => {
  const { told, owner, held, add } = holding();
  add(1, true);
  owner.wantsMessages = true;
  held.release();
  expect([told, held.isPaused]).toEqual([['pause', 'x', 'resume', 'emptied'], false]);
  held.drop();
  expect(told).toHaveLength(4);
});

test('a listener that causes another delivery gets that message after the one that it is handling', () => {
  const { told, owner, held } = holding();
  owner.wantsMessages = true;
  owner.deliver = (message) => {
    told.push(`begin ${String(message)}`);
    held.release();
    told.push(`end ${String(message)}`);
  };
  for (const text of ['1', '2']) held.add(text, false, 1, false);
  held.release();
  expect(told).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2', 'emptied']);
});

test('a Blob that is read after it was dropped does not affect messages that are held by then', async () => {
  const { told, owner, held } = holding();
  owner.wantsMessages = true;
  const blob = new Blob(['late']);
  const read = vi.spyOn(blob, 'arrayBuffer');
  held.addBlob(blob, false);
  held.drop();
  await read.mock.results[0]!.value;
  await Promise.resolve();
  expect([told, held.length]).toEqual([[], 0]);
});
