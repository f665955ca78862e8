import { AuthError, UNAVAILABLE, type Problem } from "./errors.js";

/** Milliseconds after which an answer counts as lost. */
const TIMEOUT = 20_000;
/** Seconds. However long a proxy would have us wait, the service is asked again by then. */
const MAX_WAIT = 300;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The JSON object in the body; null without one. */
  readonly body: Record<string, unknown> | null;
}

/** POST to authsvc with its cookies. */
export const post = (
  url: string,
  headers: Record<string, string>,
  body: unknown,
  signal?: AbortSignal,
): Promise<Answer> => ask(url, { method: "POST", ...json(headers, body) }, signal);

export const json = (headers: Record<string, string>, body: unknown): RequestInit => ({
  headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
  body: body ? JSON.stringify(body) : null,
});

/**
 * A request to authsvc with its cookies.
 *
 * Rejects with the signal's reason if it is aborted, and with `unavailable` where nothing is known
 * about the outcome: no answer, one that was cut off, a 5xx, or a busy proxy's 408 or 429.
 */
export async function ask(
  url: string,
  init: RequestInit,
  signal?: AbortSignal,
  send: typeof fetch = fetch,
): Promise<Answer> {
  // Not `throwIfAborted`, which React Native lacks.
  if (signal?.aborted) throw signal.reason;
  const ours = new AbortController();
  const stop = (): void => ours.abort(signal?.reason);
  const timer = setTimeout(stop, TIMEOUT);
  signal?.addEventListener("abort", stop);
  try {
    const answer = await send(url, { ...init, credentials: "include", signal: ours.signal });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: objectIn(text) };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw error instanceof AuthError ? error : unavailable(unreachable(url), error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** To a page a refused preflight looks like a broken network. */
function unreachable(url: string): string {
  const here = globalThis.location?.origin;
  const foreign = here && here !== new URL(url, here).origin;
  const unless = `, or this page's origin (${here}) is not in AUTHSVC_CORS_ORIGINS; the browser's console tells`;
  return `authsvc cannot be reached${foreign ? unless : ""}.`;
}

/** The error that an answer other than success is. */
export function refusal({ status, headers, body }: Answer): AuthError {
  const problem = (body?.code ? body : undefined) as Problem | undefined;
  // A proxy, a captive portal or the wrong address answered in authsvc's place.
  const foreign = status === 200 || status === 401 || isBusy(status) ? UNAVAILABLE : "unexpected_answer";
  return new AuthError(
    problem?.code ?? foreign,
    problem?.detail ?? `${status} came, in a form that is not authsvc's.`,
    status,
    seconds(headers.get("Retry-After")),
    problem,
  );
}

/** Whether the same request may succeed later, without anything being changed. */
export const passes = ({ status, code }: AuthError): boolean =>
  code === UNAVAILABLE || isBusy(status);

const isBusy = (status: number): boolean => status >= 500 || status === 408 || status === 429;

export function unavailable(message: string, cause?: unknown): AuthError {
  const error = new AuthError(UNAVAILABLE, message);
  error.cause = cause;
  return error;
}

/** Retry-After (RFC 9110 §10.2.3): seconds, or a date. */
export function seconds(retryAfter: string | null): number | undefined {
  if (!retryAfter) return undefined;
  const number = Number(retryAfter);
  const wait = Number.isNaN(number) ? (Date.parse(retryAfter) - Date.now()) / 1000 : number;
  return wait >= 0 ? Math.min(wait, MAX_WAIT) : undefined;
}

function objectIn(text: string): Answer["body"] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" ? (value as Answer["body"]) : null;
  } catch {
    return null;
  }
}
