import { accountAt } from "./account.js";
import type { Auth, Options, Reason } from "./api.js";
import { authorizedFetch } from "./authorized_fetch.js";
import { AuthError } from "./errors.js";
import { exclusivelyBy } from "./lock.js";
import { openPeers, type Message } from "./peers.js";
import { dueAt, sessionOf, tokensIn, type Session, type Token, type TokenAnswer } from "./session.js";
import { openStore, PENDING, random } from "./store.js";
import { passes, post, refusal, unavailable } from "./transport.js";

// What is in the store. None of it is a credential: see docs/single-page-apps.md.
/** The key of the last refresh, for as long as a crash could take its cookie back. */
const LAST = "last";
/** The id of the session that there may be. */
const HINT = "session";

/** Milliseconds. Chromium writes cookies to the disk every 30 s. */
const FLUSHED = 60_000;
/** Milliseconds in which other tabs answer. */
const ASKING = 50;
/** Milliseconds of pause after a first and after many failures. */
const PAUSE = 1_000;
const MAX_PAUSE = 30_000;
/** Milliseconds before its end from which a token is no longer sent. */
const MARGIN = 5_000;
/** Why a refresh is left for a login or a logout. */
const LEFT = new Error("left");

/**
 * The sessions of one authsvc in this page, in step with all other tabs of the origin.
 *
 * Where there is no page (a server that renders, a build) nothing is sent and nothing is kept
 * alive, and `ready` is null. One object is for one user: never share it between requests.
 */
export function createAuth(options: Options = {}): Auth {
  const browsing = "document" in globalThis || "WorkerGlobalScope" in globalThis;
  const here = globalThis.location?.origin;
  const service = originOf(options.url ?? here);
  const name = `authsvc ${service} `;
  const origins = new Set([here, service, ...(options.origins ?? [])]);
  const patience = (options.patience ?? 10) * 1_000;
  const listeners = new Set(options.onChange ? [options.onChange] : []);
  const store = openStore(name);
  const exclusively = exclusivelyBy(name, store);
  const peers = openPeers(browsing ? name : null, hear);

  let held: Token | null = null;
  let session: Session | null = null;
  /** Whose page this is, once somebody was logged in: no other session may be mixed into it. */
  let identity: string | null = null;
  /** How often a login, a logout or an end has been seen. */
  let turns = 0;
  /** Why nothing works any more. */
  let stopped: AuthError | null = service
    ? null
    : new AuthError("closed", "There is no page here whose origin could be meant: give a url.");
  let refreshing: Promise<void> | null = null;
  let underWay: AbortController | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let flushing: ReturnType<typeof setTimeout> | undefined;
  let wake = (): void => undefined;

  // What the page holds

  function adopt(token: Token, reason: Reason): void {
    if (stopped) return;
    const found = sessionOf(token);
    const owner = `${found.userId} ${found.sessionId}`;
    if (identity && identity !== owner) {
      stop(new AuthError("session_changed", "Another tab has begun another session."));
      (options.onOtherSession ?? (() => globalThis.document && location.reload()))();
      return;
    }
    identity = owner;
    held = token;
    session = found;
    clearTimeout(timer);
    timer = setTimeout(() => void renew(), dueAt(token) - Date.now());
    changed(reason);
  }

  /** The session of that id is over, and with it what this page holds. */
  function end(ended: string | null, reason: Reason): void {
    if (store.get(HINT) === ended) forget(PENDING, LAST, HINT);
    turns += 1;
    clearTimeout(timer);
    if (held) {
      held = session = null;
      changed(reason);
    }
    wake();
  }

  function over(hinted: string | null, reason: "logout" | "ended"): void {
    const told = reason === "logout" ? "elsewhere" : reason;
    peers.tell({ ended: hinted ?? session?.sessionId, reason: told });
    end(hinted, reason);
  }

  function forget(...items: string[]): void {
    for (const item of items) store.set(item, null);
  }

  function changed(reason: Reason): void {
    const now = session;
    // A listener that throws must not take the session with it.
    for (const listener of listeners) queueMicrotask(() => listener(now, reason));
    wake();
  }

  function stop(why: AuthError): void {
    stopped ??= why;
    held = session = null;
    clearTimeout(timer);
    clearTimeout(flushing);
    underWay?.abort(LEFT);
    peers.close();
    for (const [event, listener] of events) globalThis.removeEventListener?.(event, listener);
    wake();
  }

  /** Until something happens, or the time is over. */
  function pause(milliseconds: number): Promise<void> {
    return new Promise((done) => {
      const ringing = setTimeout(done, milliseconds);
      wake = () => {
        clearTimeout(ringing);
        done();
      };
    });
  }

  // Refresh

  /** One at a time in this page. Settles when the outcome is known, however long that takes. */
  function renew(): Promise<void> {
    refreshing ??= untilAnswered().finally(() => {
      refreshing = null;
    });
    return refreshing;
  }

  async function untilAnswered(): Promise<void> {
    const before = held;
    const turn = turns;
    const isOver = (): boolean => !!stopped || turns !== turn || held !== before;
    const isLeft = (): boolean => !!underWay?.signal.aborted;
    for (let tries = 0; !isOver(); ) {
      underWay = null;
      try {
        await exclusively(async () => {
          underWay = new AbortController();
          // News of what another tab did under the lock may still be on its way.
          if (peers.connected && !isOver()) {
            peers.tell({ ask: true });
            await pause(ASKING);
          }
          if (!isOver()) await attempt(underWay.signal);
        });
        return;
      } catch (error) {
        if (isLeft()) continue; // Queue again, behind the login or logout.
        if (!(error instanceof AuthError && passes(error))) throw error;
        const wait = Math.min(PAUSE * 2 ** tries++, MAX_PAUSE);
        // Spread upwards, so that a service which comes back is not asked by everybody at once.
        await pause(Math.max(wait, (error.retryAfter ?? 0) * 1_000) * (1 + Math.random() / 2));
      }
    }
  }

  /** One request. The key is in the store before it is sent, and leaves it after the answer. */
  async function attempt(signal: AbortSignal): Promise<void> {
    const sent = Date.now();
    const hinted = store.get(HINT);
    // A page that has just started may be the first after a crash, with the cookie of before.
    const key = store.get(PENDING) ?? (identity ? null : store.get(LAST)) ?? random();
    store.set(PENDING, key);
    const answer = await post(`${service}/auth/refresh`, { "Idempotency-Key": key }, null, signal);
    const tokens = tokensIn(answer);
    if (tokens) {
      if (store.get(PENDING) === key) store.set(PENDING, null);
      // A kept token was made with the key of before, which stays the one to repeat.
      if (answer.headers.get("Authsvc-Refresh") !== "kept") remember(key);
      accept(tokens, sent, "refresh");
      return;
    }
    const refused = refusal(answer);
    if (refused.code !== "invalid_refresh_token") throw refused;
    over(hinted, "ended");
  }

  function remember(key: string): void {
    store.set(LAST, key);
    clearTimeout(flushing);
    flushing = setTimeout(() => {
      if (store.get(LAST) === key) store.set(LAST, null);
    }, FLUSHED);
  }

  function accept(tokens: TokenAnswer, sent: number, reason: "login" | "refresh"): void {
    const token = { text: tokens.access_token, from: sent, until: sent + tokens.expires_in * 1_000 };
    sessionOf(token); // What cannot be read reaches neither the store nor the other tabs.
    store.set(HINT, tokens.session_id);
    peers.tell({ token, reason: reason === "login" ? "elsewhere" : reason });
    adopt(token, reason);
  }

  /** Waits for `renew` while patience lasts; the refresh itself goes on behind it. */
  async function patiently(outcome: Promise<void>): Promise<void> {
    let late: ReturnType<typeof setTimeout> | undefined;
    const timeUp = new Promise<never>((_, reject) => {
      late = setTimeout(
        () => reject(unavailable("authsvc has not answered yet; the session goes on.")),
        patience,
      );
    });
    await Promise.race([outcome, timeUp]).finally(() => clearTimeout(late));
    if (stopped) throw stopped;
  }

  // Login and logout

  /** Like a refresh under the lock; one that is under way makes room, in every tab. */
  function takingTurns<T>(run: () => Promise<T>): Promise<T> {
    if (stopped) return Promise.reject(stopped);
    const turn = exclusively(() => (stopped ? Promise.reject(stopped) : run()));
    underWay?.abort(LEFT);
    peers.tell({ leave: true });
    return turn;
  }

  const login: Auth["login"] = (email, password, { remember: remembered = true } = {}) =>
    takingTurns(async () => {
      const sent = Date.now();
      const body = { email, password, remember: remembered };
      const answer = await post(`${service}/auth/login`, {}, body);
      const tokens = tokensIn(answer);
      if (!tokens) throw refusal(answer);
      forget(PENDING, LAST);
      turns += 1;
      identity = held = null; // This page chose to be somebody else's.
      accept(tokens, sent, "login");
      return session!;
    });

  const logout: Auth["logout"] = (scope = "session") =>
    takingTurns(async () => {
      const hinted = store.get(HINT);
      const bearer: Record<string, string> = held ? { Authorization: `Bearer ${held.text}` } : {};
      const answer = await post(`${service}/auth/logout`, bearer, { scope });
      const refused = answer.status === 204 ? null : refusal(answer);
      // `unauthenticated`: nothing was presented that could be ended, and the cookies are gone.
      if (refused && refused.code !== "unauthenticated") throw refused;
      if (!refused && scope === "others") return;
      over(hinted, "logout");
    });

  // Use

  async function usable(): Promise<Token | null> {
    await begun.catch(() => undefined);
    if (stopped) throw stopped;
    if (held ? Date.now() > held.until - MARGIN : store.get(HINT)) await patiently(renew());
    return held;
  }

  const authorized = authorizedFetch(origins, {
    usable,
    // Another request may have brought a newer token meanwhile.
    replace: async (token) => {
      if (held === token) await patiently(renew());
      return held;
    },
  });

  const account = accountAt(service, authorized);

  async function endSession(id: string): Promise<void> {
    await account.endSession(id);
    if (id === session?.sessionId) over(id, "logout");
  }

  // What happens elsewhere

  function hear({ token, ended, reason, leave, ask }: Message): void {
    if (token && !(held && token.from <= held.from)) adopt(token, reason ?? "refresh");
    if (leave) underWay?.abort(LEFT);
    if (ask && held && Date.now() < dueAt(held)) peers.tell({ token: held });
    if (ended && session?.sessionId === ended) end(ended, reason ?? "elsewhere");
  }

  /** Back from sleep or from the history, where timers are late and no news arrives. */
  function awake(): void {
    if (!held || !session) return;
    const hinted = store.lasts ? store.get(HINT) : session.sessionId;
    if (!hinted) end(session.sessionId, "elsewhere");
    else if (hinted !== session.sessionId || Date.now() > dueAt(held)) void renew();
  }

  /** The hint changes with every login and logout: the news where there is no BroadcastChannel. */
  function heardOfHint({ key, oldValue, newValue }: StorageEvent): void {
    if (key !== name + HINT || peers.connected) return; // Messages also tell why.
    if (!newValue && oldValue === session?.sessionId) end(oldValue, "elsewhere");
    else if (newValue && newValue !== session?.sessionId) void renew();
  }

  const events: [string, EventListener][] = [
    ["online", () => wake()],
    ["pageshow", awake],
    ["visibilitychange", awake],
    ["storage", heardOfHint as EventListener],
  ];
  for (const [event, listener] of events) globalThis.addEventListener?.(event, listener);

  // Without a lasting store nothing is known, and asking does no harm.
  const asks = browsing && (store.get(HINT) || !store.lasts || options.mayBeLoggedIn);
  const begun = asks ? patiently(renew()) : Promise.resolve();
  const ready = begun.then(() => session);
  ready.catch(() => undefined);

  return {
    ready,
    get session() {
      return session;
    },
    ...account,
    login,
    logout,
    endSession,
    async refresh() {
      await patiently(renew());
      return session;
    },
    token: async () => (await usable())?.text ?? null,
    fetch: authorized,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => stop(new AuthError("closed", "This client has been closed.")),
  };
}

/** authsvc's cookies and metadata are at the root of a host, so a path would be ignored. */
function originOf(url: string | undefined): string {
  if (!url) return "";
  const { origin, pathname, search, hash } = new URL(url);
  if (pathname + search + hash === "/") return origin;
  throw new TypeError(`createAuth: url is the origin of authsvc, such as ${origin}, without a path.`);
}
