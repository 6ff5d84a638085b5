import type { PoolStats } from '@soketi/connections';
import * as v from 'valibot';

/** Largest message taken from a client, in bytes; `ws` closes the connection with 1009 beyond it. */
export const MAX_MESSAGE_BYTES = 16 * 1024;
const MAX_NAME_LENGTH = 32;
const MAX_TEXT_LENGTH = 2_000;

/** Nothing that hides, or that changes how the text around it reads: controls, lone surrogates, bidi marks. */
const VISIBLE = /^[^\p{Cc}\p{Cs}\p{Bidi_Control}]*$/u;

const text = (maxLength: number) => v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(maxLength));
const name = v.pipe(text(MAX_NAME_LENGTH), v.regex(VISIBLE, 'Expected visible characters only'));

/** The first message of a client. */
export const FirstMessage = v.strictObject({ type: v.literal('join'), namespace: name, name });

/** Every further one: to everybody in the namespace or, with `to`, to one id. */
export const FurtherMessage = v.strictObject({
  type: v.literal('say'),
  text: text(MAX_TEXT_LENGTH),
  to: v.optional(v.string()),
});

/** A member as the others see it. */
export interface MemberView {
  readonly id: string;
  readonly name: string;
}

/** What the server sends. */
export type ServerMessage =
  | { type: 'welcome'; id: string; members: readonly MemberView[]; stats: PoolStats }
  | { type: 'joined' | 'left'; member: MemberView }
  | { type: 'said'; from: MemberView; text: string; to?: MemberView }
  | { type: 'stats'; stats: PoolStats }
  | { type: 'error'; code: 'BAD_MESSAGE' | 'NOT_HERE'; message: string };

export type Parsed<Message> =
  { readonly ok: true; readonly message: Message } | { readonly ok: false; readonly error: ServerMessage };

/** What a client sent, or what to answer when it is not the JSON text of such a message. */
export function parse<const Schema extends v.GenericSchema>(
  schema: Schema,
  data: string | Uint8Array,
): Parsed<v.InferOutput<Schema>> {
  if (typeof data !== 'string') return bad('Expected text but received binary');
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return bad('Expected JSON');
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return { ok: true, message: result.output };
  const [issue] = result.issues;
  return bad(`${v.getDotPath(issue) ?? 'message'}: ${issue.message}`);
}

function bad(message: string): { ok: false; error: ServerMessage } {
  return { ok: false, error: { type: 'error', code: 'BAD_MESSAGE', message } };
}
