import { expected, toError } from './errors.js';

/** What an option such as `onSlow` may be: an answer, or a function that answers for each message. */
type Policy<C, Answer extends string> =
  Answer | ((connection: C, message: { readonly byteLength: number }) => Answer);

/**
 * What a policy says about a message. A function that throws, or answers something else, is reported and means 'close'.
 *
 * @param name of the option, for the error
 */
export function askPolicy<C, Answer extends string>(
  [name, policy, answers]: readonly [name: string, policy: Policy<C, Answer>, answers: readonly Answer[]],
  connection: C,
  byteLength: number,
  report: (error: Error) => void,
): Answer | 'close' {
  if (typeof policy !== 'function') return policy;
  try {
    const answer: unknown = policy(connection, { byteLength });
    if (answers.includes(answer as Answer)) return answer as Answer;
    // A promise answers too late, and may reject.
    Promise.resolve(answer).catch((error: unknown) => report(toError(error)));
    const allowed = answers.map((allowedAnswer) => `'${allowedAnswer}'`);
    const list = `${allowed.slice(0, -1).join(', ')} or ${String(allowed.at(-1))}`;
    throw new TypeError(expected(`${name} to answer ${list}`, answer));
  } catch (error) {
    report(toError(error));
    return 'close';
  }
}
