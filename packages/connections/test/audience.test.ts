import { expect, test } from 'vitest';
import { assertSendOptions, toArgument, toAudience, toClosingAudience, toRooms } from '../src/audience.js';

const EVERYBODY = { rooms: undefined, exceptRooms: [], exceptions: [], conflate: undefined, isLocal: false };

test('an audience without an argument is the whole namespace', () => {
  expect(toAudience(undefined)).toEqual(EVERYBODY);
  expect(toAudience({})).toEqual(EVERYBODY);
});

test.each([
  ['an array', ['a', 'b']],
  ['a set', new Set(['a', 'b'])],
  ['a generator', ['a', 'b'].values()],
])('ids to leave out may come as %s', (_, ids) => {
  expect(toAudience(ids)).toEqual({ ...EVERYBODY, exceptions: ['a', 'b'] });
  expect(toAudience({ exceptions: ['a', 'b'] })).toEqual({ ...EVERYBODY, exceptions: ['a', 'b'] });
});

test('the room of an audience is a string, several are an iterable, and an empty iterable means nobody', () => {
  expect(toAudience({ rooms: 'red', exceptRooms: '' })).toMatchObject({ rooms: ['red'], exceptRooms: [''] });
  expect(toAudience({ rooms: new Set(['red', 'blue']) })).toMatchObject({ rooms: ['red', 'blue'] });
  expect(toAudience({ rooms: [] })).toMatchObject({ rooms: [] });
});

test('options may be an object without a prototype', () => {
  const options: object = Object.assign(Object.create(null) as object, { rooms: 'red' });
  expect(toAudience(options)).toEqual({ ...EVERYBODY, rooms: ['red'] });
});

test('an audience passes the options conflate and local on', () => {
  expect(toAudience({ conflate: '', local: true })).toMatchObject({ conflate: '', isLocal: true });
});

test.each([
  ['a string', 'first', 'exceptions to be an iterable of ids, or an object with options'],
  ['null', null, 'exceptions to be an iterable of ids, or an object with options'],
  ['a number', 5, 'exceptions to be an iterable of ids, or an object with options'],
  ['a promise', Promise.resolve(), 'to be a plain object'],
  ['a date', new Date(), 'to be a plain object'],
  ['an async generator', (async function* () {})(), 'to be a plain object'],
  ['an unknown option', { room: 'red' }, 'Unknown option `room` in the options of a broadcast'],
  ['rooms of null', { rooms: null }, 'rooms to be a room or an iterable of rooms'],
  ['rooms that are a number', { rooms: 5 }, 'rooms to be a room or an iterable of rooms'],
  ['rooms with a number', { rooms: ['red', 5] }, 'each of rooms to be a string'],
  // One unset variable made a message to a room one to everybody: it counted as an option that is not there.
  ['rooms of undefined', { rooms: undefined }, 'rooms to be a room or an iterable of rooms'],
  ['exceptRooms of undefined', { exceptRooms: undefined }, 'exceptRooms to be a room or an iterable'],
  ['exceptions of undefined', { exceptions: undefined }, 'exceptions to be an iterable of ids'],
  ['exceptRooms of null', { exceptRooms: null }, 'exceptRooms to be a room or an iterable of rooms'],
  ['exceptions of null', { exceptions: null }, 'exceptions to be an iterable of ids'],
  ['exceptions that are a string', { exceptions: 'first' }, 'exceptions to be an iterable of ids'],
  ['conflate of null', { conflate: null }, 'conflate to be a string'],
  ['a number to conflate by', { conflate: 1 }, 'conflate to be a string'],
  ['local that is a string', { local: 'yes' }, 'local to be a boolean'],
  ['a code among the options of a broadcast', { code: 1000 }, 'Unknown option `code`'],
])('an audience with %s is a TypeError', (_, given, message) => {
  expect(() => toAudience(given as never)).toThrow(TypeError);
  expect(() => toAudience(given as never)).toThrow(message);
});

test('an audience that was read once can be passed on', () => {
  const read = toAudience<string>({ rooms: ['a'].values(), exceptions: ['x'].values(), local: true });
  expect(toAudience(toArgument(read))).toEqual(read);
  for (const options of [{ conflate: 'k' }, { exceptRooms: 'b' }, { rooms: [] }, { local: true }]) {
    const audience = toAudience<string>(options);
    expect(toAudience(toArgument(audience))).toEqual(audience);
  }
});

test('exceptions without other options are passed on as ids, which an override that was written for the original expects', () => {
  expect(toArgument(toAudience(new Set(['a'])))).toEqual(['a']);
});

test('closeAll takes a code and a reason among the options, but no conflate key', () => {
  expect(
    toClosingAudience({ rooms: 'red', code: 1000, reason: '' } as never, ['code', 'reason']),
  ).toMatchObject({
    rooms: ['red'],
  });
  expect(() => toClosingAudience({ conflate: 'k' } as never, [])).toThrow(
    'Unknown option `conflate` in the options of closeAll',
  );
  expect(() => toClosingAudience({ rooms: undefined } as never, [])).toThrow('rooms to be a room');
  for (const given of ['red', 5, null])
    expect(() => toClosingAudience(given as never, [])).toThrow(TypeError);
});

test('send checks its options', () => {
  expect(() => assertSendOptions(undefined)).not.toThrow();
  expect(() => assertSendOptions({ conflate: 'k' })).not.toThrow();
  expect(() => assertSendOptions({ local: true })).toThrow('Unknown option `local` in the options of send');
  expect(() => assertSendOptions({ local: 1 }, ['conflate', 'local'])).toThrow('local to be a boolean');
  expect(() => assertSendOptions('k')).toThrow('to be an object');
  // `send` may be passed as a listener of `message`, or as a callback of `forEach`.
  for (const passed of [true, false, 0]) expect(() => assertSendOptions(passed)).not.toThrow();
});

test.each([undefined, null, 5, {}])('%s is refused as a room', (given) => {
  expect(() => toRooms('rooms', given)).toThrow(TypeError);
});
