// Built from clients/js; do not edit.

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

// src/account.ts
function accountAt(service, authorized) {
  const call = (method, path, body) => ask(service + path, { method, ...json({}, body) }, void 0, authorized);
  return {
    register: async (email, password) => read(await post(`${service}/auth/register`, {}, { email, password })),
    me: async () => read(await call("GET", "/auth/me")),
    changePassword: async (current_password, new_password) => done(await call("POST", "/auth/password/change", { current_password, new_password })),
    sessions: async (next) => read(await call("GET", `/auth/sessions${next ? `?cursor=${encodeURIComponent(next)}` : ""}`)),
    endSession: async (id) => done(await call("DELETE", `/auth/sessions/${encodeURIComponent(id)}`))
  };
}
function read(answer) {
  if (answer.status >= 300 || !answer.body) throw refusal(answer);
  return answer.body;
}
function done(answer) {
  if (answer.status !== 204) throw refusal(answer);
}

// src/session.ts
var tokensIn = ({ status, body }) => status === 200 && typeof body?.access_token === "string" ? body : null;
var RENEW_AT = 0.8;
var dueAt = (token) => token.from + RENEW_AT * (token.until - token.from);
function sessionOf(token) {
  try {
    const payload = token.text.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return {
      userId: claims.sub,
      sessionId: claims.sid,
      roles: claims.roles ?? [],
      claims,
      expiresAt: new Date(token.until)
    };
  } catch {
    throw new AuthError("unexpected_answer", "The access token is not a JWT, so it is not authsvc's.");
  }
}

// src/authorized_fetch.ts
function authorizedFetch(origins, tokens) {
  const send = (request, token) => {
    if (token) request.headers.set("Authorization", `Bearer ${token.text}`);
    return fetch(request);
  };
  return async (input, init) => {
    const request = new Request(input, init);
    const { origin } = new URL(request.url);
    if (!origins.has(origin)) {
      throw new AuthError("origin_not_listed", `List ${origin} in \`origins\` to send it the access token.`);
    }
    const first = await tokens.usable();
    const answer = await send(request.clone(), first);
    if (answer.status !== 401 || !first) return answer;
    const second = await tokens.replace(first);
    if (!second || second === first || sidOf(second) !== sidOf(first)) return answer;
    void answer.body?.cancel();
    return send(request, second);
  };
}
var sidOf = (token) => sessionOf(token).sessionId;

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
    get(name) {
      try {
        if (disk) return disk.getItem(prefix + name);
      } catch {
        disk = void 0;
      }
      return memory.get(name) ?? null;
    },
    set(name, value) {
      if (value === null) memory.delete(name);
      else memory.set(name, value);
      try {
        if (value === null) disk?.removeItem(prefix + name);
        else disk?.setItem(prefix + name, value);
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
var sleep = (milliseconds) => new Promise((done2) => setTimeout(done2, milliseconds));
function exclusivelyBy(name, store) {
  const locks = globalThis.navigator?.locks;
  const lease = leasing(store);
  if (!locks) return lease;
  return async (run) => {
    let granted = false;
    try {
      return await locks.request(name, () => {
        granted = true;
        return run();
      });
    } catch (error) {
      if (granted) throw error;
      return lease(run);
    }
  };
}
function leasing(store) {
  return async (run) => {
    const me = random();
    const holder = () => {
      const [owner, until] = (store.get(LOCK) ?? "").split(" ");
      const left = Number(until) - Date.now();
      return left > 0 && left <= LEASE ? owner : void 0;
    };
    while (holder() !== me) {
      if (!holder()) store.set(LOCK, `${me} ${Date.now() + LEASE}`);
      await sleep(SETTLED * (1 + Math.random()));
    }
    try {
      return await run();
    } finally {
      if (holder() === me) store.set(LOCK, null);
    }
  };
}

// src/peers.ts
function openPeers(name, hear) {
  let channel;
  try {
    if (name !== null && globalThis.BroadcastChannel) channel = new BroadcastChannel(name);
  } catch {
  }
  if (channel) channel.onmessage = ({ data }) => hear(data);
  return {
    connected: !!channel,
    tell: (message) => channel?.postMessage(message),
    close() {
      channel?.close();
      channel = void 0;
    }
  };
}

// src/client.ts
var LAST = "last";
var HINT = "session";
var FLUSHED = 6e4;
var ASKING = 50;
var PAUSE = 1e3;
var MAX_PAUSE = 3e4;
var MARGIN = 5e3;
var LEFT = new Error("left");
function createAuth(options = {}) {
  const browsing = "document" in globalThis || "WorkerGlobalScope" in globalThis;
  const here = globalThis.location?.origin;
  const service = originOf(options.url ?? here);
  const name = `authsvc ${service} `;
  const origins = /* @__PURE__ */ new Set([here, service, ...options.origins ?? []]);
  const patience = (options.patience ?? 10) * 1e3;
  const listeners = new Set(options.onChange ? [options.onChange] : []);
  const store = openStore(name);
  const exclusively = exclusivelyBy(name, store);
  const peers = openPeers(browsing ? name : null, hear);
  let held = null;
  let session = null;
  let identity = null;
  let turns = 0;
  let stopped = service ? null : new AuthError("closed", "There is no page here whose origin could be meant: give a url.");
  let refreshing = null;
  let underWay = null;
  let timer;
  let flushing;
  let wake = () => void 0;
  function adopt(token, reason) {
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
  function end(ended, reason) {
    if (store.get(HINT) === ended) forget(PENDING, LAST, HINT);
    turns += 1;
    clearTimeout(timer);
    if (held) {
      held = session = null;
      changed(reason);
    }
    wake();
  }
  function over(hinted, reason) {
    const told = reason === "logout" ? "elsewhere" : reason;
    peers.tell({ ended: hinted ?? session?.sessionId, reason: told });
    end(hinted, reason);
  }
  function forget(...items) {
    for (const item of items) store.set(item, null);
  }
  function changed(reason) {
    const now = session;
    for (const listener of listeners) queueMicrotask(() => listener(now, reason));
    wake();
  }
  function stop(why) {
    stopped ??= why;
    held = session = null;
    clearTimeout(timer);
    clearTimeout(flushing);
    underWay?.abort(LEFT);
    peers.close();
    for (const [event, listener] of events) globalThis.removeEventListener?.(event, listener);
    wake();
  }
  function pause(milliseconds) {
    return new Promise((done2) => {
      const ringing = setTimeout(done2, milliseconds);
      wake = () => {
        clearTimeout(ringing);
        done2();
      };
    });
  }
  function renew() {
    refreshing ??= untilAnswered().finally(() => {
      refreshing = null;
    });
    return refreshing;
  }
  async function untilAnswered() {
    const before = held;
    const turn = turns;
    const isOver = () => !!stopped || turns !== turn || held !== before;
    const isLeft = () => !!underWay?.signal.aborted;
    for (let tries = 0; !isOver(); ) {
      underWay = null;
      try {
        await exclusively(async () => {
          underWay = new AbortController();
          if (peers.connected && !isOver()) {
            peers.tell({ ask: true });
            await pause(ASKING);
          }
          if (!isOver()) await attempt(underWay.signal);
        });
        return;
      } catch (error) {
        if (isLeft()) continue;
        if (!(error instanceof AuthError && passes(error))) throw error;
        const wait = Math.min(PAUSE * 2 ** tries++, MAX_PAUSE);
        await pause(Math.max(wait, (error.retryAfter ?? 0) * 1e3) * (1 + Math.random() / 2));
      }
    }
  }
  async function attempt(signal) {
    const sent = Date.now();
    const hinted = store.get(HINT);
    const key = store.get(PENDING) ?? (identity ? null : store.get(LAST)) ?? random();
    store.set(PENDING, key);
    const answer = await post(`${service}/auth/refresh`, { "Idempotency-Key": key }, null, signal);
    const tokens = tokensIn(answer);
    if (tokens) {
      if (store.get(PENDING) === key) store.set(PENDING, null);
      if (answer.headers.get("Authsvc-Refresh") !== "kept") remember(key);
      accept(tokens, sent, "refresh");
      return;
    }
    const refused = refusal(answer);
    if (refused.code !== "invalid_refresh_token") throw refused;
    over(hinted, "ended");
  }
  function remember(key) {
    store.set(LAST, key);
    clearTimeout(flushing);
    flushing = setTimeout(() => {
      if (store.get(LAST) === key) store.set(LAST, null);
    }, FLUSHED);
  }
  function accept(tokens, sent, reason) {
    const token = { text: tokens.access_token, from: sent, until: sent + tokens.expires_in * 1e3 };
    sessionOf(token);
    store.set(HINT, tokens.session_id);
    peers.tell({ token, reason: reason === "login" ? "elsewhere" : reason });
    adopt(token, reason);
  }
  async function patiently(outcome) {
    let late;
    const timeUp = new Promise((_, reject) => {
      late = setTimeout(
        () => reject(unavailable("authsvc has not answered yet; the session goes on.")),
        patience
      );
    });
    await Promise.race([outcome, timeUp]).finally(() => clearTimeout(late));
    if (stopped) throw stopped;
  }
  function takingTurns(run) {
    if (stopped) return Promise.reject(stopped);
    const turn = exclusively(() => stopped ? Promise.reject(stopped) : run());
    underWay?.abort(LEFT);
    peers.tell({ leave: true });
    return turn;
  }
  const login = (email, password, { remember: remembered = true } = {}) => takingTurns(async () => {
    const sent = Date.now();
    const body = { email, password, remember: remembered };
    const answer = await post(`${service}/auth/login`, {}, body);
    const tokens = tokensIn(answer);
    if (!tokens) throw refusal(answer);
    forget(PENDING, LAST);
    turns += 1;
    identity = held = null;
    accept(tokens, sent, "login");
    return session;
  });
  const logout = (scope = "session") => takingTurns(async () => {
    const hinted = store.get(HINT);
    const bearer = held ? { Authorization: `Bearer ${held.text}` } : {};
    const answer = await post(`${service}/auth/logout`, bearer, { scope });
    const refused = answer.status === 204 ? null : refusal(answer);
    if (refused && refused.code !== "unauthenticated") throw refused;
    if (!refused && scope === "others") return;
    over(hinted, "logout");
  });
  async function usable() {
    await begun.catch(() => void 0);
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
    }
  });
  const account = accountAt(service, authorized);
  async function endSession(id) {
    await account.endSession(id);
    if (id === session?.sessionId) over(id, "logout");
  }
  function hear({ token, ended, reason, leave, ask: ask2 }) {
    if (token && !(held && token.from <= held.from)) adopt(token, reason ?? "refresh");
    if (leave) underWay?.abort(LEFT);
    if (ask2 && held && Date.now() < dueAt(held)) peers.tell({ token: held });
    if (ended && session?.sessionId === ended) end(ended, reason ?? "elsewhere");
  }
  function awake() {
    if (!held || !session) return;
    const hinted = store.lasts ? store.get(HINT) : session.sessionId;
    if (!hinted) end(session.sessionId, "elsewhere");
    else if (hinted !== session.sessionId || Date.now() > dueAt(held)) void renew();
  }
  function heardOfHint({ key, oldValue, newValue }) {
    if (key !== name + HINT || peers.connected) return;
    if (!newValue && oldValue === session?.sessionId) end(oldValue, "elsewhere");
    else if (newValue && newValue !== session?.sessionId) void renew();
  }
  const events = [
    ["online", () => wake()],
    ["pageshow", awake],
    ["visibilitychange", awake],
    ["storage", heardOfHint]
  ];
  for (const [event, listener] of events) globalThis.addEventListener?.(event, listener);
  const asks = browsing && (store.get(HINT) || !store.lasts || options.mayBeLoggedIn);
  const begun = asks ? patiently(renew()) : Promise.resolve();
  const ready = begun.then(() => session);
  ready.catch(() => void 0);
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
    close: () => stop(new AuthError("closed", "This client has been closed."))
  };
}
function originOf(url) {
  if (!url) return "";
  const { origin, pathname, search, hash } = new URL(url);
  if (pathname + search + hash === "/") return origin;
  throw new TypeError(`createAuth: url is the origin of authsvc, such as ${origin}, without a path.`);
}

// demo/requests.js
function watchRequests(tell) {
  const { fetch: fetch2 } = globalThis;
  globalThis.fetch = async (input, init) => {
    const { pathname } = new URL(input.url ?? input, location.href);
    const request = `${init?.method ?? input.method ?? "GET"} ${pathname}`;
    const time = (/* @__PURE__ */ new Date()).toLocaleTimeString();
    try {
      const answer = await fetch2(input, init);
      const outcome = answer.headers.get("Authsvc-Refresh") ?? "";
      tell({ time, request, answer: String(answer.status), isGood: answer.ok, outcome });
      return answer;
    } catch (error) {
      tell({ time, request, answer: "no answer", isGood: false, outcome: "" });
      throw error;
    }
  };
}

// demo/theft.js
var post2 = (path, body) => fetch(path, {
  method: "POST",
  credentials: "omit",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body)
});
async function stealToken({ email, password, tell, read: read3, auth: auth2 }) {
  const login = await read3(await post2("/auth/login", { email, password, delivery: "native" }));
  tell(`Another device logs in: session ${login.session_id.slice(0, 8)}.`, true);
  const stolen = login.refresh_token;
  tell("A thief copies its refresh token.", false);
  const owner = await read3(await post2("/auth/refresh", { refresh_token: stolen }));
  tell("The device refreshes, and the copy is spent.", true);
  const thief = await post2("/auth/refresh", { refresh_token: stolen });
  tell(`The thief uses the copy: ${thief.status}. That was reuse, and the session is over.`, thief.status === 401);
  const again = await post2("/auth/refresh", { refresh_token: owner.refresh_token });
  tell(`The device's own newest token: ${again.status}. It has to log in again.`, false);
  const here = await auth2.fetch("/auth/me");
  tell(`This page, a session of its own: ${here.status}. It goes on.`, here.ok);
}

// demo/demo.js
var find = (selector) => document.querySelector(selector);
var json2 = (value) => JSON.stringify(value, null, 2);
function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
watchRequests(({ time, request, answer, isGood, outcome }) => {
  const cells = [time, request, answer, outcome].map((text) => element("td", { textContent: text }));
  cells[2].className = isGood ? "good" : "bad";
  find("#requests").prepend(element("tr", {}, ...cells));
  while (find("#requests").children.length > 20) find("#requests").lastChild.remove();
});
var auth = createAuth({ onChange: show });
async function act(button, work) {
  const problem = button.closest(".card").querySelector(".problem");
  problem.textContent = "";
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    const fields = error.problem?.errors?.map(({ msg }) => msg).join(" ") ?? "";
    problem.textContent = `${error.message} ${fields}`;
  } finally {
    button.disabled = false;
  }
}
var onClick = (id, work) => {
  find(id).onclick = (event) => act(event.currentTarget, work);
};
async function read2(answer) {
  const body = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail), { problem: body });
  return body;
}
var shownUser = null;
function show(session, reason) {
  find("#starting").hidden = true;
  find("#stranger").hidden = Boolean(session);
  find("#home").hidden = !session;
  if (reason === "login" || reason === "logout") find(session ? "#who" : "#stranger h1").focus();
  if (!session) {
    shownUser = null;
    find("#story").replaceChildren();
    return;
  }
  find("#token").textContent = json2(session.claims);
  tick();
  if (shownUser !== session.userId) {
    shownUser = session.userId;
    find("#answer").textContent = "Not called yet.";
    void auth.me().then((me) => {
      find("#who").textContent = find("#theft").elements.email.value = me.email;
    });
    void listSessions();
  }
}
find("#sign-in").onsubmit = (event) => {
  event.preventDefault();
  const fields = event.target.elements;
  const account = { email: fields.email.value, password: fields.password.value };
  void act(event.submitter, async () => {
    if (event.submitter.value === "register") await auth.register(account.email, account.password);
    await auth.login(account.email, account.password, { remember: fields.remember.checked });
    find("#theft").elements.password.value = account.password;
    event.target.reset();
    find("#made-up").textContent = "";
  });
};
find("#throwaway").onclick = () => {
  const random2 = () => crypto.getRandomValues(new Uint32Array(2)).join("");
  const fields = find("#sign-in").elements;
  fields.email.value = `someone-${random2().slice(0, 8)}@example.com`;
  fields.password.value = `made up ${random2()}`;
  find("#sign-in .problem").textContent = "";
  find("#made-up").textContent = "Filled in. Now press Register.";
  find("#sign-in button[value=register]").focus();
};
onClick("#logout", () => auth.logout());
onClick("#logout-all", () => auth.logout("all"));
function tick() {
  if (!auth.session) return;
  const { expiresAt, claims } = auth.session;
  const life = (claims.exp - claims.iat) * 1e3;
  const left = Math.max(0, expiresAt - Date.now());
  const seconds2 = Math.ceil(left / 1e3);
  find("#left").textContent = `${Math.floor(seconds2 / 60)}:${String(seconds2 % 60).padStart(2, "0")}`;
  find("#due").textContent = new Date(expiresAt - 0.2 * life).toLocaleTimeString();
  find("#life").value = left / life;
}
setInterval(tick, 1e3);
onClick("#refresh", () => {
  if (!navigator.onLine) throw new Error("You are offline. The session goes on; the refresh is made when you are back.");
  return auth.refresh();
});
onClick("#call", async () => {
  const answer = await auth.fetch("/auth/me");
  find("#answer").textContent = `${answer.status} ${answer.statusText}

${json2(await answer.json())}`;
});
async function listSessions() {
  const { sessions } = await auth.sessions();
  find("#sessions").replaceChildren(...sessions.map(entry));
}
function entry({ id, current, delivery, ip, user_agent: agent, last_used_at: used }) {
  const when = new Date(used).toLocaleTimeString();
  const about = element(
    "div",
    {},
    element("code", { textContent: id.slice(0, 8) }),
    ` ${delivery}, last used ${when}`,
    element("div", { className: "quiet", textContent: `${ip} · ${agent}` })
  );
  const end = element("button", { className: "second small", textContent: "End" });
  end.onclick = () => act(end, async () => {
    await auth.endSession(id);
    if (auth.session) await listSessions();
  });
  return element("li", {}, about, current ? element("span", { className: "badge", textContent: "this one" }) : end);
}
onClick("#reload-sessions", listSessions);
find("#theft").onsubmit = (event) => {
  event.preventDefault();
  void act(event.submitter, async () => {
    const { email, password } = Object.fromEntries(new FormData(event.target));
    find("#story").replaceChildren();
    const tell = (text, isGood) => find("#story").append(element("li", { className: isGood ? "good" : "bad", textContent: text }));
    await stealToken({ email, password, tell, read: read2, auth });
    await listSessions();
  });
};
auth.ready.then(
  (session) => session ?? show(null),
  (error) => find("#starting").textContent = error.message
);
