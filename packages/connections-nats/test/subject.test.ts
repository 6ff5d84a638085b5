import { expect, test } from 'vitest';
import { natsAdapter } from '../src/index.js';
import { assertPrefix, subjectOf } from '../src/subject.js';

const names = [
  '',
  ' ',
  '.',
  '*',
  '>',
  'a',
  'A',
  'b',
  'YQ',
  'é',
  '\0',
  '\r\n',
  'x'.repeat(1_024),
  'x'.repeat(1_025),
  'x'.repeat(1_026),
];

test('each channel has its own subject, which is the prefix and one more token', () => {
  const subjects = names.map((name) => subjectOf('soketi', name));
  expect(new Set(subjects).size).toBe(names.length);
  for (const subject of subjects) expect(subject).toMatch(/^soketi\.[\w-]{1,1500}$/);
});

test('a long channel does not have the same subject as a channel that is named after its hash', () => {
  const long = subjectOf('soketi', 'x'.repeat(2_000));
  expect(subjectOf('soketi', long.slice('soketi.'.length))).not.toBe(long);
});

test.each(['soketi', 'my-app.stage', 'a.b.c', '_'])('the prefix %j is accepted', (prefix) => {
  expect(() => assertPrefix(prefix)).not.toThrow();
});

test.each(['', '.', 'a.', '.a', 'a..b', 'a b', '*', 'a.>', 'a\n', '\0', '$SYS', 1, null])(
  'the prefix %j is refused',
  (prefix) => {
    expect(() => assertPrefix(prefix)).toThrow(TypeError);
  },
);

test('natsAdapter refuses unknown options', () => {
  // A misspelt prefix would make the pool join the cluster of another stage.
  expect(() => natsAdapter({ connection: {} as never, prefx: 'staging' } as never)).toThrow(/prefx/);
});

test.each([undefined, null, 'nats://127.0.0.1', {}])(
  'natsAdapter refuses %j instead of a connection',
  (stranger) => {
    expect(() => natsAdapter({ connection: stranger as never })).toThrow(TypeError);
  },
);
