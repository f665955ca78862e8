// What an application sees.
import type { Session } from "./session.js";

export interface Options {
  /** Where authsvc is; the page's own origin unless given. */
  readonly url?: string;
  /** Origins that `fetch` may send the access token to, beside the page's own and authsvc's. */
  readonly origins?: readonly string[];
  /** Called after every change: with the session (also when only its token is new), or null. */
  readonly onChange?: (session: Session | null) => void;
  /**
   * Called when another tab has begun a session of its own, so that what this page shows is
   * somebody else's. Reloads the page unless given; the client does nothing more in any case.
   */
  readonly onOtherSession?: () => void;
  /** How many seconds a call waits for a service that is away. The session waits for ever. */
  readonly patience?: number;
}

export interface Auth {
  /** Settles when it is known whether somebody is logged in; rejects with `unavailable`. */
  readonly ready: Promise<Session | null>;
  readonly session: Session | null;
  /** Log in, in place of whoever was. */
  login(email: string, password: string, options?: { remember?: boolean }): Promise<Session>;
  /** End this session (the default), all others of the account, or all. */
  logout(scope?: "session" | "others" | "all"): Promise<void>;
  /** Get a new access token now, for instance after roles have changed. */
  refresh(): Promise<Session | null>;
  /** An access token that works now, for what is not `fetch`; null if nobody is logged in. */
  token(): Promise<string | null>;
  /** `fetch` with an access token; after a 401 once more with a new one. */
  readonly fetch: typeof globalThis.fetch;
  /** As the option; returns what ends it. */
  onChange(listener: (session: Session | null) => void): () => void;
  /** Stop timers and leave the other tabs. The session goes on. */
  close(): void;
}
