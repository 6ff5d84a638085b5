import type { Frame } from '../wire/frame.js';
import { assertCloseArguments, type Closing } from '../close-codes.js';
import { ByteWriter, WireError, type ByteReader } from './bytes.js';
import { framesFrom } from './frames.js';

/*
 * What nodes say to each other. A message of the broker is a batch: a header, and records.
 *
 *   u8 0xC5 | u8 version | u8 flags | u8 header length | u64 sender | u64 sequence | u32 length of the records
 *   record: varint length of type and body | u8 type | body
 *
 * Numbers are big-endian. The sequence counts the batches of one sender on one channel. Records of an unknown type are
 * skipped, so that a type can be added; everything else that is not understood makes the batch invalid, as a whole.
 */

export const MAGIC = 0xc5;
export const VERSION = 1;
export const HEADER_BYTES = 24;
/** Flag: the sender does not remember earlier batches on this channel, so a jump of the sequence is no loss. */
export const STARTS = 0x01;

/** Who gets a message or a close; strings only, as ids of a cluster are. */
export interface Target {
  /** `undefined`: the whole namespace. */
  readonly rooms: readonly string[] | undefined;
  readonly exceptRooms: readonly string[];
  readonly exceptions: readonly string[];
  readonly conflate: string | undefined;
  /** Closes those who got the message. */
  readonly close: Closing | undefined;
}

/** A request: which one, and whether also nodes that have nothing to say answer. */
export interface Ask {
  /** 0: nobody waits for an answer. */
  readonly request: number;
  readonly all: boolean;
}

/** What a node tells about itself. */
export interface Presence {
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly name: string;
  /** It has never had a connection, so it has nothing to answer. */
  readonly isPublishOnly: boolean;
  /** It was here before, and may have missed something. */
  readonly isBack: boolean;
  readonly connections: number;
  readonly namespaces: number;
  /** Connections still to be closed, and at which rate: 0 for none. `undefined` while it takes newcomers. */
  readonly draining: { readonly remaining: number; readonly maxPerSecond: number } | undefined;
}

/** One thing that a node says. The namespace is that of the channel, except for `count`. */
export type WireRecord =
  | { readonly kind: 'frames'; readonly target: Target; readonly frames: readonly Frame[] }
  | {
      readonly kind: 'send';
      readonly ask: Ask;
      readonly id: string;
      readonly frame: Frame;
      readonly conflate: string | undefined;
      readonly close: Closing | undefined;
    }
  | { readonly kind: 'close'; readonly ask: Ask; readonly id: string; readonly close: Closing }
  | { readonly kind: 'closeAll'; readonly ask: Ask; readonly target: Target }
  | { readonly kind: 'has'; readonly ask: Ask; readonly id: string }
  | { readonly kind: 'count'; readonly ask: Ask; readonly namespace: string; readonly rooms: Target['rooms'] }
  | { readonly kind: 'answer'; readonly request: number; readonly value: number }
  | { readonly kind: 'claim'; readonly id: string; readonly joinedAtMs: number; readonly isLate: boolean }
  | { readonly kind: 'hello' | 'beat'; readonly presence: Presence }
  | { readonly kind: 'bye' };

export const RecordType = {
  Frames: 1,
  FramesTo: 2,
  Send: 3,
  Close: 4,
  CloseAll: 5,
  Has: 6,
  Count: 7,
  Answer: 8,
  Claim: 9,
  Hello: 10,
  Beat: 11,
  Bye: 12,
} as const;

export const EVERYBODY: Target = Object.freeze({
  rooms: undefined,
  exceptRooms: [],
  exceptions: [],
  conflate: undefined,
  close: undefined,
});

// ---------------------------------------------------------------- writing

const HAS_ROOMS = 0x01;
const HAS_EXCEPT_ROOMS = 0x02;
const HAS_EXCEPTIONS = 0x04;
const HAS_CONFLATE = 0x08;
const HAS_CLOSE = 0x10;

const IS_PUBLISH_ONLY = 0x01;
const IS_DRAINING = 0x02;
const IS_BACK = 0x04;

/** Type and body of a record; the batch adds the length. Frames are not encoded here: they are appended as they are. */
export function encodeRecord(record: Exclude<WireRecord, { kind: 'frames' }>): Buffer {
  const writer = new ByteWriter();
  switch (record.kind) {
    case 'send': {
      const { ask, id, frame, conflate, close } = record;
      writeAsk(writer.byte(RecordType.Send), ask).string(id);
      writeTarget(writer, { ...EVERYBODY, conflate, close });
      for (const chunk of frame.chunks) writer.bytes(chunk);
      return writer.end();
    }
    case 'close':
      writeAsk(writer.byte(RecordType.Close), record.ask).string(record.id);
      return writeClosing(writer, record.close).end();
    case 'closeAll':
      return writeTarget(writeAsk(writer.byte(RecordType.CloseAll), record.ask), record.target).end();
    case 'has':
      return writeAsk(writer.byte(RecordType.Has), record.ask).string(record.id).end();
    case 'count':
      writeAsk(writer.byte(RecordType.Count), record.ask).string(record.namespace);
      return writeTarget(writer, { ...EVERYBODY, rooms: record.rooms }).end();
    case 'answer':
      return writer.byte(RecordType.Answer).varint(record.request).varint(record.value).end();
    case 'claim':
      writer.byte(RecordType.Claim).byte(record.isLate ? 1 : 0);
      return writer.varint(record.joinedAtMs).string(record.id).end();
    case 'hello':
      return writePresence(writer.byte(RecordType.Hello), record.presence).end();
    case 'beat':
      return writePresence(writer.byte(RecordType.Beat), record.presence).end();
    case 'bye':
      return writer.byte(RecordType.Bye).end();
  }
}

/** Type and target of a record of frames, to be followed by the frames. */
export function encodeFramesTo(target: Target): Buffer {
  return writeTarget(new ByteWriter().byte(RecordType.FramesTo), target).end();
}

function writeAsk(writer: ByteWriter, { request, all }: Ask): ByteWriter {
  return writer.varint(2 * request + (all ? 1 : 0));
}

function writeTarget(writer: ByteWriter, target: Target): ByteWriter {
  const { rooms, exceptRooms, exceptions, conflate, close } = target;
  writer.byte(
    (rooms === undefined ? 0 : HAS_ROOMS) |
      (exceptRooms.length > 0 ? HAS_EXCEPT_ROOMS : 0) |
      (exceptions.length > 0 ? HAS_EXCEPTIONS : 0) |
      (conflate === undefined ? 0 : HAS_CONFLATE) |
      (close === undefined ? 0 : HAS_CLOSE),
  );
  if (rooms !== undefined) writer.strings(rooms);
  if (exceptRooms.length > 0) writer.strings(exceptRooms);
  if (exceptions.length > 0) writer.strings(exceptions);
  if (conflate !== undefined) writer.string(conflate);
  return close === undefined ? writer : writeClosing(writer, close);
}

function writeClosing(writer: ByteWriter, { code, reason }: Closing): ByteWriter {
  return writer.u16(code).string(reason);
}

function writePresence(writer: ByteWriter, presence: Presence): ByteWriter {
  const { minVersion, maxVersion, name, isPublishOnly, isBack, connections, namespaces, draining } = presence;
  writer.byte(minVersion).byte(maxVersion);
  writer.byte((isPublishOnly ? IS_PUBLISH_ONLY : 0) | (draining ? IS_DRAINING : 0) | (isBack ? IS_BACK : 0));
  writer.string(name).varint(connections).varint(namespaces);
  return draining === undefined ? writer : writer.varint(draining.remaining).varint(draining.maxPerSecond);
}

// ---------------------------------------------------------------- reading

/** @returns `undefined` if its type is not known @throws {WireError} it is not what its type says */
export function decodeRecord(reader: ByteReader): WireRecord | undefined {
  const type = reader.byte();
  switch (type) {
    case RecordType.Frames:
      return { kind: 'frames', target: EVERYBODY, frames: framesFrom(reader.rest()) };
    case RecordType.FramesTo:
      return { kind: 'frames', target: readTarget(reader), frames: framesFrom(reader.rest()) };
    case RecordType.Send:
      return readSend(reader);
    case RecordType.Close:
      return { kind: 'close', ask: readAsk(reader), id: reader.string(), close: readClosing(reader) };
    case RecordType.CloseAll:
      return readCloseAll(reader);
    case RecordType.Has:
      return { kind: 'has', ask: readAsk(reader), id: reader.string() };
    case RecordType.Count: {
      const [ask, namespace] = [readAsk(reader), reader.string()];
      return { kind: 'count', ask, namespace, rooms: readTarget(reader).rooms };
    }
    case RecordType.Answer:
      return { kind: 'answer', request: reader.varint(), value: reader.varint() };
    case RecordType.Claim: {
      const isLate = readFlag(reader);
      return { kind: 'claim', isLate, joinedAtMs: reader.varint(), id: reader.string() };
    }
    case RecordType.Hello:
      return { kind: 'hello', presence: readPresence(reader) };
    case RecordType.Beat:
      return { kind: 'beat', presence: readPresence(reader) };
    case RecordType.Bye:
      return { kind: 'bye' };
    default:
      reader.rest();
      return undefined;
  }
}

function readSend(reader: ByteReader): WireRecord {
  const [ask, id, { conflate, close }] = [readAsk(reader), reader.string(), readTarget(reader)];
  const [frame, ...others] = framesFrom(reader.rest());
  if (frame === undefined || others.length > 0) throw new WireError('Not one frame');
  return { kind: 'send', ask, id, frame, conflate, close };
}

function readCloseAll(reader: ByteReader): WireRecord {
  const [ask, target] = [readAsk(reader), readTarget(reader)];
  if (target.close === undefined) throw new WireError('The close code is missing');
  return { kind: 'closeAll', ask, target };
}

function readFlag(reader: ByteReader): boolean {
  const value = reader.byte();
  if (value > 1) throw new WireError(`Expected a flag of 0 or 1, got ${value}`);
  return value === 1;
}

function readAsk(reader: ByteReader): Ask {
  const value = reader.varint();
  return { request: Math.floor(value / 2), all: value % 2 === 1 };
}

function readTarget(reader: ByteReader): Target {
  const flags = reader.byte();
  if (flags > (HAS_CLOSE << 1) - 1) throw new WireError('An unknown part of an audience');
  return {
    rooms: flags & HAS_ROOMS ? reader.strings() : undefined,
    exceptRooms: flags & HAS_EXCEPT_ROOMS ? reader.strings() : [],
    exceptions: flags & HAS_EXCEPTIONS ? reader.strings() : [],
    conflate: flags & HAS_CONFLATE ? reader.string() : undefined,
    close: flags & HAS_CLOSE ? readClosing(reader) : undefined,
  };
}

function readClosing(reader: ByteReader): Closing {
  const [code, reason] = [reader.u16(), reader.string()];
  try {
    assertCloseArguments(code, reason);
  } catch (cause) {
    throw new WireError('A close that cannot be sent', { cause });
  }
  return { code, reason };
}

/** What comes after the known fields is left for later versions. */
function readPresence(reader: ByteReader): Presence {
  const [minVersion, maxVersion, flags] = [reader.byte(), reader.byte(), reader.byte()];
  const [name, connections, namespaces] = [reader.string(), reader.varint(), reader.varint()];
  const draining =
    flags & IS_DRAINING ? { remaining: reader.varint(), maxPerSecond: reader.varint() } : undefined;
  reader.rest();
  const [isPublishOnly, isBack] = [(flags & IS_PUBLISH_ONLY) > 0, (flags & IS_BACK) > 0];
  return { minVersion, maxVersion, name, isPublishOnly, isBack, connections, namespaces, draining };
}
