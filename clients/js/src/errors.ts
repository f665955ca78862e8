/** What was refused, in the words of RFC 9457. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: string;
  readonly retry_after?: number;
  readonly errors?: readonly { readonly loc: readonly (string | number)[]; readonly msg: string }[];
}

/** Nobody knows what became of the request: no answer, half an answer, or a 5xx. */
export const UNAVAILABLE = "unavailable";

/**
 * A refusal, or the lack of an answer.
 *
 * `code` is one of the service's (`/auth/errors.json`), or one of ours: `unavailable` (the session
 * is as it was; try again), `unexpected_answer` (it was not authsvc that answered), `session_changed` (this page belongs to a session that another tab has
 * replaced), `origin_not_listed` (the access token does not go there) and `closed`.
 */
export class AuthError extends Error {
  override readonly name = "AuthError";

  /**
   * @param status Of the answer; 0 if there was none.
   * @param retryAfter Seconds to wait at least, if the service said so.
   */
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
    readonly retryAfter?: number,
    readonly problem?: Problem,
  ) {
    super(message);
  }
}
