import { assertObject } from './arguments.js';
import { toClosingAudience, type Audience, type AudienceOptions } from './audience.js';
import { assertCloseArguments, CloseCode, type Closing } from './close-codes.js';

/** See `closeAll`. */
export interface CloseAllOptions<ID> extends AudienceOptions<ID> {
  /** 1000-1003, 1007-1014 or 3000-4999. @default 1000 */
  readonly code?: number | undefined;
  /** At most 123 bytes of UTF-8. @default none */
  readonly reason?: string | undefined;
}

/** The arguments of `closeAll`, in any of their forms. @throws {TypeError | RangeError} one of them is wrong */
export function closeAllFrom<ID>(
  codeOrOptions: number | CloseAllOptions<ID> | undefined,
  reason: string | undefined,
  options: AudienceOptions<ID> | undefined,
): { readonly audience: Audience<ID>; readonly close: Closing } {
  if (typeof codeOrOptions === 'object' && (codeOrOptions as unknown) !== null) {
    const audience = toClosingAudience(codeOrOptions, ['code', 'reason']);
    return { audience, close: checkedClose(codeOrOptions.code, codeOrOptions.reason) };
  }
  const close = checkedClose(codeOrOptions as number | undefined, reason);
  if (options !== undefined) assertObject('the options of closeAll', options);
  return { audience: toClosingAudience(options ?? {}, []), close };
}

function checkedClose(code: number = CloseCode.Normal, reason = ''): Closing {
  assertCloseArguments(code, reason);
  return { code, reason };
}
