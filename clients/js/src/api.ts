// What an application sees.
import type { Account, Sessions } from "./account.js";
import type { Session } from "./session.js";

/**
 * Why `onChange` was called: a login or a logout of this page; `refresh`, a new token or the session
 * that was found at the start; `elsewhere`, another tab logged in or out; `ended`, authsvc knows the
 * session no more (run out, revoked, or its token was used twice).
 */
export type Reason = "login" | "refresh" | "logout" | "elsewhere" | "ended";

export type Listener = (session: Session | null, reason: Reason) => void;

export interface Options {
  /** Where authsvc is; the page's own origin unless given. */
  readonly url?: string;
  /** Origins that `fetch` may send the access token to, beside the page's own and authsvc's. */
  readonly origins?: readonly string[];
  /** Called after every change: with the session (also when only its token is new), or null. */
  readonly onChange?: Listener;
  /**
   * Called when another tab has begun a session of its own, so that what this page shows is
   * somebody else's. Reloads the page unless given; the client does nothing more in any case.
   */
  readonly onOtherSession?: () => void;
  /**
   * Ask authsvc at the start even if nothing here hints at a session: a page of another origin may
   * have begun one. Costs a stranger's visit one request and its 401.
   */
  readonly mayBeLoggedIn?: boolean;
  /** How many seconds a call waits for a service that is away. The session waits for ever. */
  readonly patience?: number;
}

export interface Auth {
  /** Settles when it is known whether somebody is logged in; rejects with `unavailable`. */
  readonly ready: Promise<Session | null>;
  readonly session: Session | null;
  /** Create an account; nobody is logged in by that. */
  register(email: string, password: string): Promise<Account>;
  /** Log in, in place of whoever was. */
  login(email: string, password: string, options?: { remember?: boolean }): Promise<Session>;
  /** End this session (the default), all others of the account, or all. */
  logout(scope?: "session" | "others" | "all"): Promise<void>;
  /** The account as it is now. */
  me(): Promise<Account>;
  /** Every other session of the account ends; this one continues. */
  changePassword(currentPassword: string, newPassword: string): Promise<void>;
  /** A hundred sessions of the account, the one used last first; `next` of a page asks for the following one. */
  sessions(next?: string): Promise<Sessions>;
  /** End one session of the account; this page's own is a logout. */
  endSession(id: string): Promise<void>;
  /** Get a new access token now, for instance after roles have changed. */
  refresh(): Promise<Session | null>;
  /** An access token that works now, for what is not `fetch`; null if nobody is logged in. */
  token(): Promise<string | null>;
  /** `fetch` with an access token; after a 401 once more with a new one. */
  readonly fetch: typeof globalThis.fetch;
  /** As the option; returns what ends it. */
  onChange(listener: Listener): () => void;
  /** Stop timers and leave the other tabs. The session goes on. */
  close(): void;
}
