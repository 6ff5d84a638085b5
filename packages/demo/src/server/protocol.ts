import * as v from 'valibot';

/** Largest message taken from a client, in bytes; `ws` closes the connection with 1009 beyond it. */
export const MAX_MESSAGE_BYTES = 16 * 1024;
const MAX_NAME_LENGTH = 32;
const MAX_TEXT_LENGTH = 2_000;

/**
 * No characters that are invisible, or that change how the text around them reads: controls, lone surrogates, line
 * separators, zero-width spaces, bidi marks. Two names that look the same would be taken for the same user. Only emoji
 * may be joined or drawn in colour.
 */
const VISIBLE =
  /^(?:[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])[\u200d\ufe0f])*$/u;

const text = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(MAX_TEXT_LENGTH));
const name = v.pipe(
  v.string(),
  v.normalize('NFC'),
  v.trim(),
  v.minLength(1),
  v.maxLength(MAX_NAME_LENGTH),
  v.regex(VISIBLE, 'Expected visible characters only'),
);

/** Who connects, and to which namespace: the query of the upgrade. */
export const Newcomer = v.strictObject({ namespace: name, name });

/** The messages of clients. */
export const Message = v.variant('type', [
  v.strictObject({ type: v.literal('join'), room: name }),
  v.strictObject({ type: v.literal('leave'), room: name }),
  v.strictObject({ type: v.literal('say'), room: name, text }),
  v.strictObject({ type: v.literal('typing'), room: name }),
  v.strictObject({ type: v.literal('whisper'), to: name, text }),
  v.strictObject({ type: v.literal('kick'), user: name }),
]);
export type Message = v.InferOutput<typeof Message>;

/** A user in a room, perhaps with several tabs. */
export interface UserView {
  readonly name: string;
  readonly tabs: number;
}

/** The messages of the server. */
export type ServerMessage =
  | { type: 'welcome'; id: string; name: string; node: string }
  | { type: 'members'; room: string; users: readonly UserView[]; more: number }
  | { type: 'said'; room: string; from: string; text: string }
  | { type: 'typing'; room: string; user: string }
  | { type: 'whispered'; from: string; to: string; text: string }
  | { type: 'error'; code: 'BAD_MESSAGE' | 'NOT_HERE' | 'TOO_MANY_ROOMS'; message: string };

export type Checked<Value> =
  { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly problem: string };

/** The JSON text of a message, or what is wrong with it. */
export function parse(data: string | Uint8Array): Checked<Message> {
  if (typeof data !== 'string') return { ok: false, problem: 'Expected text but received binary' };
  try {
    return check(Message, JSON.parse(data));
  } catch {
    return { ok: false, problem: 'Expected JSON' };
  }
}

/** The message of a client, or what is wrong with it. */
export function check<const Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
): Checked<v.InferOutput<Schema>> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return { ok: true, value: result.output };
  const [issue] = result.issues;
  return { ok: false, problem: `${v.getDotPath(issue) ?? 'message'}: ${issue.message}` };
}
