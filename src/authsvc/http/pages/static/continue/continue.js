// Built from clients/js; do not edit.

// src/store.ts
var PENDING = "pending";
function openStore(prefix) {
  const memory = /* @__PURE__ */ new Map();
  let disk;
  try {
    disk = globalThis.localStorage;
    disk?.setItem(prefix + "probe", "");
    disk?.removeItem(prefix + "probe");
  } catch {
    disk = void 0;
  }
  return {
    get lasts() {
      return !!disk;
    },
    get(name2) {
      try {
        if (disk) return disk.getItem(prefix + name2);
      } catch {
        disk = void 0;
      }
      return memory.get(name2) ?? null;
    },
    set(name2, value) {
      if (value === null) memory.delete(name2);
      else memory.set(name2, value);
      try {
        if (value === null) disk?.removeItem(prefix + name2);
        else disk?.setItem(prefix + name2, value);
      } catch {
        disk = void 0;
      }
    }
  };
}
var random = () => Array.from(
  crypto.getRandomValues(new Uint8Array(16)),
  (byte) => byte.toString(16).padStart(2, "0")
).join("");

// src/lock.ts
var LOCK = "lock";
var LEASE = 4e4;
var SETTLED = 60;
var sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
function exclusivelyBy(name2, store2) {
  const locks = globalThis.navigator?.locks;
  const lease = leasing(store2);
  if (!locks) return lease;
  return async (run2) => {
    let granted = false;
    try {
      return await locks.request(name2, () => {
        granted = true;
        return run2();
      });
    } catch (error) {
      if (granted) throw error;
      return lease(run2);
    }
  };
}
function leasing(store2) {
  return async (run2) => {
    const me = random();
    const holder = () => {
      const [owner, until] = (store2.get(LOCK) ?? "").split(" ");
      const left = Number(until) - Date.now();
      return left > 0 && left <= LEASE ? owner : void 0;
    };
    while (holder() !== me) {
      if (!holder()) store2.set(LOCK, `${me} ${Date.now() + LEASE}`);
      await sleep(SETTLED * (1 + Math.random()));
    }
    try {
      return await run2();
    } finally {
      if (holder() === me) store2.set(LOCK, null);
    }
  };
}

// src/errors.ts
var UNAVAILABLE = "unavailable";
var AuthError = class extends Error {
  /**
   * @param status Of the answer; 0 if there was none.
   * @param retryAfter Seconds to wait at least, if the service said so.
   */
  constructor(code, message, status = 0, retryAfter, problem) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.problem = problem;
  }
  code;
  status;
  retryAfter;
  problem;
  name = "AuthError";
};

// src/transport.ts
var TIMEOUT = 2e4;
var MAX_WAIT = 300;
var post = (url, headers, body, signal) => ask(url, { method: "POST", ...json(headers, body) }, signal);
var json = (headers, body) => ({
  headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
  body: body ? JSON.stringify(body) : null
});
async function ask(url, init, signal, send = fetch) {
  if (signal?.aborted) throw signal.reason;
  const ours = new AbortController();
  const stop = () => ours.abort(signal?.reason);
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
function unreachable(url) {
  const here = globalThis.location?.origin;
  const foreign = here && here !== new URL(url, here).origin;
  const unless = `, or this page's origin (${here}) is not in AUTHSVC_CORS_ORIGINS; the browser's console tells`;
  return `authsvc cannot be reached${foreign ? unless : ""}.`;
}
function refusal({ status, headers, body }) {
  const problem = body?.code ? body : void 0;
  const foreign = status === 200 || status === 401 || isBusy(status) ? UNAVAILABLE : "unexpected_answer";
  return new AuthError(
    problem?.code ?? foreign,
    problem?.detail ?? `${status} came, in a form that is not authsvc's.`,
    status,
    seconds(headers.get("Retry-After")),
    problem
  );
}
var passes = ({ status, code }) => code === UNAVAILABLE || isBusy(status);
var isBusy = (status) => status >= 500 || status === 408 || status === 429;
function unavailable(message, cause) {
  const error = new AuthError(UNAVAILABLE, message);
  error.cause = cause;
  return error;
}
function seconds(retryAfter) {
  if (!retryAfter) return void 0;
  const number = Number(retryAfter);
  const wait = Number.isNaN(number) ? (Date.parse(retryAfter) - Date.now()) / 1e3 : number;
  return wait >= 0 ? Math.min(wait, MAX_WAIT) : void 0;
}
function objectIn(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

// continue/rounds.js
var ROUNDS = "rounds";
var TOO_MANY = 3;
var SPAN = 6e4;
var recent = (name2) => {
  const moments = (sessionStorage.getItem(name2 + ROUNDS) ?? "").split(" ").map(Number);
  return moments.filter((at) => at && Math.abs(Date.now() - at) < SPAN);
};
function hasJustBeenHere(name2) {
  try {
    if (recent(name2).length < TOO_MANY) return false;
    sessionStorage.removeItem(name2 + ROUNDS);
    return true;
  } catch {
    return true;
  }
}
function cameBack(name2) {
  try {
    sessionStorage.setItem(name2 + ROUNDS, [...recent(name2), Date.now()].join(" "));
  } catch {
  }
}

// continue/continue.js
var CONTINUED = "continued";
var FLUSHED = 6e4;
var PAUSE = 1e3;
var MAX_PAUSE = 3e4;
var find = (id) => document.getElementById(id);
var { returnTo, signIn, csrfCookie } = document.querySelector("main").dataset;
var name = `authsvc ${location.origin} `;
var store = openStore(name);
var exclusively = exclusivelyBy(name, store);
function say(title, text, ...actions) {
  find("title").textContent = document.title = title;
  find("text").textContent = text;
  find("track").hidden = actions.length > 0;
  find("actions").hidden = actions.length === 0;
  find("actions").replaceChildren(...actions);
}
var link = (textContent, href, className = "") => Object.assign(document.createElement("a"), { textContent, href, className });
var button = (textContent, onclick) => Object.assign(document.createElement("button"), { textContent, onclick });
var cookie = (wanted) => document.cookie.split("; ").find((pair) => pair.startsWith(`${wanted}=`))?.slice(wanted.length + 1);
function over() {
  if (signIn) location.replace(signIn);
  else say("You are signed out", "Your session has ended.", link("Back to the application", returnTo));
}
function attemptKey() {
  const [key, at] = (store.get(CONTINUED) ?? "").split(" ");
  const age = Date.now() - Number(at);
  const last = key && age >= 0 && age < FLUSHED ? key : null;
  return store.get(PENDING) ?? last ?? random();
}
async function renew() {
  const csrf = cookie(csrfCookie);
  if (!csrf) return false;
  const key = attemptKey();
  store.set(PENDING, key);
  const answer = await post("/auth/refresh", { "Idempotency-Key": key, "X-CSRF-Token": csrf }, null);
  if (answer.status === 200 && answer.body?.session_id) {
    if (store.get(PENDING) === key) store.set(PENDING, null);
    if (answer.headers.get("Authsvc-Refresh") !== "kept") store.set(CONTINUED, `${key} ${Date.now()}`);
    return !answer.body.access_token;
  }
  const refused = refusal(answer);
  if (!["invalid_refresh_token", "csrf_failed"].includes(refused.code)) throw refused;
  store.set(PENDING, null);
  store.set(CONTINUED, null);
  return false;
}
async function countdown(milliseconds) {
  let wake;
  const woken = new Promise((done) => wake = done);
  const until = Date.now() + milliseconds;
  const show = () => {
    const left = Math.max(Math.ceil((until - Date.now()) / 1e3), 0);
    find("text").textContent = `The sign-in service does not answer at the moment. You are still signed in. Next try in ${left} s.`;
    if (left === 0) wake();
  };
  say("Still trying …", "", button("Try now", wake));
  show();
  const ticking = setInterval(show, 250);
  addEventListener("online", wake);
  await woken;
  removeEventListener("online", wake);
  clearInterval(ticking);
}
async function untilAnswered() {
  for (let tries = 0; ; tries += 1) {
    say("One moment …", "Your session is being renewed.");
    try {
      return await exclusively(renew);
    } catch (error) {
      if (!passes(error)) throw error;
      const wait = Math.min(PAUSE * 2 ** tries, MAX_PAUSE);
      await countdown(Math.max(wait, (error.retryAfter ?? 0) * 1e3) * (1 + Math.random() / 2));
    }
  }
}
async function run() {
  try {
    if (await untilAnswered()) {
      cameBack(name);
      location.replace(returnTo);
    } else over();
  } catch (error) {
    say("That did not work", error.message, button("Try again", run), link("Back to the application", returnTo, "second"));
  }
}
if (hasJustBeenHere(name)) {
  say(
    "The application asks again and again",
    "Your session has been renewed, but the application does not see its cookie or does not accept it. Its operator finds the causes in the documentation: Server-rendered apps.",
    button("Try again", run),
    ...signIn ? [link("Sign in again", signIn, "second")] : []
  );
} else void run();
