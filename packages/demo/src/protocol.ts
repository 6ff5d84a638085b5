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

/** Who joins, and where: the query of the upgrade. */
export const Newcomer = v.strictObject({ namespace: name, name });

/** A message of a client: to everybody in the namespace or, with `to`, to one id. */
export const Message = v.strictObject({
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

export type Checked<Value> =
  { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly problem: string };

/** The JSON text of a message, or what is wrong with it. */
export function parse(data: string | Uint8Array): Checked<v.InferOutput<typeof Message>> {
  if (typeof data !== 'string') return { ok: false, problem: 'Expected text but received binary' };
  try {
    return check(Message, JSON.parse(data));
  } catch {
    return { ok: false, problem: 'Expected JSON' };
  }
}

/** What a client sent, or what is wrong with it. */
export function check<const Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
): Checked<v.InferOutput<Schema>> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return { ok: true, value: result.output };
  const [issue] = result.issues;
  return { ok: false, problem: `${v.getDotPath(issue) ?? 'message'}: ${issue.message}` };
}
