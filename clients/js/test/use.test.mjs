// fetch, login and logout.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { afterEach, test } from "node:test";
import { promisify } from "node:util";
import { createAuth } from "../dist/index.js";
import { problem, serve, tokens } from "./service.mjs";

let service;
let auth;

afterEach(() => {
  auth?.close();
  service?.close();
});

/** A client of these endpoints, `{path: (request) => answer}`, where refreshing works. */
async function start(endpoints = {}, options = {}) {
  service = await serve((request) =>
    request.path in endpoints ? endpoints[request.path](request) : { body: tokens() },
  );
  auth = createAuth({ url: service.url, ...options });
  await auth.ready;
  return service;
}

const sent = (path) => service.seen.filter((request) => request.path === path);

test("fetch sends the access token, and leaves what the caller set", async () => {
  await start({ "/api": () => ({ body: "fine" }) });

  const answer = await auth.fetch(`${service.url}/api`, { method: "PUT", headers: { "X-A": "b" }, body: "text" });

  assert.equal(await answer.text(), "fine");
  const [request] = sent("/api");
  assert.equal(request.headers.authorization, `Bearer ${await auth.token()}`);
  assert.equal(request.headers["x-a"], "b");
  assert.equal(request.body, "text");
});

test("after a 401 fetch refreshes and asks once more, body and all", async () => {
  let asked = 0;
  await start({
    "/api": () =>
      asked++ === 0
        ? { status: 401, headers: { "WWW-Authenticate": 'Bearer error="invalid_token", error_description="stale_claims"' } }
        : { body: "fine" },
  });

  const answer = await auth.fetch(new Request(`${service.url}/api`, { method: "POST", body: "an order" }));

  assert.equal(answer.status, 200);
  const [first, second] = sent("/api");
  assert.deepEqual([first.body, second.body], ["an order", "an order"]);
  assert.notEqual(first.headers.authorization, second.headers.authorization);
  assert.equal(sent("/auth/refresh").length, 2); // at the start, and now
});

test("a 401 that stays is the caller's, after one refresh", async () => {
  await start({ "/api": () => ({ status: 401, body: "no" }) });

  const answer = await auth.fetch(`${service.url}/api`);

  assert.equal(answer.status, 401);
  assert.equal(await answer.text(), "no");
  assert.equal(sent("/api").length, 2);
});

test("many requests that meet a 401 cause one refresh", async () => {
  let good = null;
  await start({
    "/api": ({ headers }) => {
      good ??= headers.authorization;
      return { status: headers.authorization === good ? 401 : 200 };
    },
  });

  const answers = await Promise.all(Array.from({ length: 10 }, () => auth.fetch(`${service.url}/api`)));

  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(sent("/auth/refresh").length, 2);
});

test("a 401 whose refresh ends the session is the caller's, and the session is over", async () => {
  let refreshes = 0;
  const told = [];
  await start(
    {
      "/api": () => ({ status: 401 }),
      "/auth/refresh": () =>
        refreshes++ === 0 ? { body: tokens() } : { status: 401, body: problem("invalid_refresh_token") },
    },
    { onChange: (session) => told.push(session && session.userId) },
  );

  const answer = await auth.fetch(`${service.url}/api`);

  assert.equal(answer.status, 401);
  assert.equal(auth.session, null);
  assert.equal(await auth.token(), null);
  assert.deepEqual(told, ["ada", null]);
});

test("other answers are the caller's: 503 of a service is not repeated", async () => {
  await start({ "/api": () => ({ status: 503 }) });

  assert.equal((await auth.fetch(`${service.url}/api`)).status, 503);
  assert.equal(sent("/api").length, 1);
});

test("without a session fetch sends no token", async () => {
  await start({
    "/auth/refresh": () => ({ status: 401, body: problem("invalid_refresh_token") }),
    "/api": () => ({ status: 401 }),
  });

  assert.equal((await auth.fetch(`${service.url}/api`)).status, 401);
  assert.equal(sent("/api")[0].headers.authorization, undefined);
  assert.equal(sent("/api").length, 1);
});

test("an origin has to be listed to get the token", async () => {
  const other = await serve(() => ({ body: "fine" }));
  await start();
  await assert.rejects(auth.fetch(`${other.url}/api`), { code: "origin_not_listed" });
  assert.equal(other.seen.length, 0);
  auth.close();

  auth = createAuth({ url: service.url, origins: [other.url] });
  assert.equal((await auth.fetch(`${other.url}/api`)).status, 200);

  assert.match(other.seen[0].headers.authorization, /^Bearer ey/);
  other.close();
});

test("a login replaces the session and forgets its keys; a refused one changes nothing", async () => {
  let right = false;
  await start({
    "/auth/login": () =>
      right ? { body: tokens({ sub: "bob", sid: "s-2" }) } : { status: 401, body: problem("invalid_credentials") },
  });

  await assert.rejects(auth.login("bob@example.com", "wrong"), { code: "invalid_credentials", status: 401 });
  assert.equal(auth.session.userId, "ada");
  right = true;
  const session = await auth.login("bob@example.com", "right", { remember: false });

  assert.equal(session.userId, "bob");
  assert.equal(auth.session, session);
  const [, request] = sent("/auth/login");
  assert.deepEqual(JSON.parse(request.body), { email: "bob@example.com", password: "right", remember: false });
});

test("too many attempts say how long to wait", async () => {
  await start({
    "/auth/login": () => ({ status: 429, body: problem("too_many_attempts"), headers: { "Retry-After": "30" } }),
  });

  await assert.rejects(auth.login("a@example.com", "x"), { code: "too_many_attempts", retryAfter: 30 });
});

for (const [scope, over] of [["session", true], ["all", true], ["others", false]]) {
  test(`logging out of ${scope} ${over ? "ends" : "keeps"} this session`, async () => {
    await start({ "/auth/logout": () => ({ status: 204 }) });

    await auth.logout(scope);

    assert.equal(auth.session === null, over);
    assert.deepEqual(JSON.parse(sent("/auth/logout")[0].body), { scope });
    assert.match(sent("/auth/logout")[0].headers.authorization, /^Bearer ey/);
  });
}

test("a logout that did not arrive is said, and the session is not over", async () => {
  await start({ "/auth/logout": () => ({ status: 503, body: problem("database_unavailable") }) });

  await assert.rejects(auth.logout(), { code: "database_unavailable", status: 503 });
  assert.equal(auth.session.userId, "ada");
});

test("a logout with nothing to end is a logout", async () => {
  await start({ "/auth/logout": () => ({ status: 401, body: problem("unauthenticated") }) });

  await auth.logout();

  assert.equal(auth.session, null);
});

test("a listener can be removed", async () => {
  const told = [];
  await start();
  const remove = auth.onChange((session) => told.push(session.userId));

  await auth.refresh();
  remove();
  await auth.refresh();

  assert.deepEqual(told, ["ada"]);
});

test("a closed client says so", async () => {
  await start();

  auth.close();

  await assert.rejects(auth.token(), { code: "closed" });
});

test("P14: a path in the url is an error at once", () => {
  for (const url of ["https://example.com/identity", "https://example.com/?a", "https://example.com/#a"])
    assert.throws(() => createAuth({ url }), /such as https:\/\/example.com, without a path/);
});

test("P10: a lock that is denied at the moment of use counts as none", async () => {
  const locks = { request: () => Promise.reject(new DOMException("The request was denied.", "SecurityError")) };
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  try {
    await start();
    assert.equal((await auth.login("ada@example.com", "a password")).userId, "ada");
  } finally {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else delete globalThis.navigator;
  }
});

test("11.17: a lease from a clock that was ahead blocks nobody", async () => {
  const items = new Map();
  globalThis.localStorage = {
    getItem: (name) => items.get(name) ?? null,
    setItem: (name, value) => items.set(name, value),
    removeItem: (name) => items.delete(name),
  };
  try {
    service = await serve(() => ({ body: tokens() }));
    items.set(`authsvc ${service.url} lock`, `another ${Date.now() + 3_600_000}`);
    auth = createAuth({ url: service.url });

    assert.equal((await auth.login("ada@example.com", "a password")).userId, "ada");
  } finally {
    delete globalThis.localStorage;
  }
});

test("P12: a browser without throwIfAborted loses nothing", async () => {
  const { throwIfAborted } = AbortSignal.prototype;
  delete AbortSignal.prototype.throwIfAborted;
  try {
    await start();
    assert.equal((await auth.refresh()).userId, "ada");
  } finally {
    AbortSignal.prototype.throwIfAborted = throwIfAborted;
  }
});

test("P11: where there is no page nothing is sent, nothing keeps the process alive, and nobody is logged in", async () => {
  service = await serve(() => ({ body: tokens() }));
  const program = `
    const { createAuth } = await import(${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)});
    const there = createAuth({ url: "${service.url}" });
    const nowhere = createAuth();
    console.log(await there.ready, await nowhere.ready);
    await nowhere.login("a", "b").catch(({ code }) => console.log(code));`;

  const done = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], { timeout: 60_000 });

  assert.equal(done.stdout, "null null\nclosed\n");
  assert.equal(service.seen.length, 0);
});

test("N07: to a page of another origin the message names the setting", async () => {
  await start();
  service.close();
  globalThis.location = new URL("http://app.test:5173/");
  try {
    await assert.rejects(auth.login("a", "b"), ({ code, message }) => {
      assert.match(message, /origin \(http:\/\/app\.test:5173\) is not in AUTHSVC_CORS_ORIGINS/);
      return code === "unavailable";
    });
  } finally {
    delete globalThis.location;
  }
});

// The account

const ADA = { id: "ada", email: "ada@example.com", roles: [], created_at: "2026-01-01T00:00:00Z" };

test("N10: register makes an account and logs nobody in", async () => {
  await start({ "/auth/register": () => ({ status: 201, body: ADA }) });

  assert.deepEqual(await auth.register("ada@example.com", "a password"), ADA);

  assert.deepEqual(JSON.parse(sent("/auth/register")[0].body), { email: "ada@example.com", password: "a password" });
  assert.equal(sent("/auth/register")[0].headers.authorization, undefined);
});

test("N10: the account's calls carry the token and say what authsvc says", async () => {
  const page = { sessions: [{ id: "s-1", current: true }], next: "a b" };
  await start({
    "/auth/me": () => ({ body: ADA }),
    "/auth/password/change": () => ({ status: 204 }),
    "/auth/sessions": () => ({ body: page }),
    "/auth/sessions?cursor=a%20b": () => ({ body: { sessions: [], next: null } }),
    "/auth/sessions/s-2": () => ({ status: 204 }),
  });

  assert.deepEqual(await auth.me(), ADA);
  await auth.changePassword("the old one", "the new one");
  const first = await auth.sessions();
  assert.deepEqual(first, page);
  assert.deepEqual(await auth.sessions(first.next), { sessions: [], next: null });
  await auth.endSession("s-2");

  const passwords = { current_password: "the old one", new_password: "the new one" };
  assert.deepEqual(JSON.parse(sent("/auth/password/change")[0].body), passwords);
  const calls = service.seen.filter(({ path }) => path !== "/auth/refresh");
  assert.equal(calls.length, 5);
  for (const { headers } of calls) assert.match(headers.authorization, /^Bearer ey/);
  assert.equal(auth.session.sessionId, "s-1");
});

test("N10: whatever such a call rejects with is an AuthError", async () => {
  await start({
    "/auth/register": () => ({ status: 409, body: problem("email_taken") }),
    "/auth/password/change": () => ({ status: 400, body: problem("current_password_wrong") }),
    "/auth/sessions": () => ({ body: "<html>Welcome to our Wi-Fi</html>" }),
    "/auth/me": () => null,
  });

  await assert.rejects(auth.register("a", "b"), { name: "AuthError", code: "email_taken", status: 409 });
  await assert.rejects(auth.changePassword("a", "b"), { name: "AuthError", code: "current_password_wrong" });
  await assert.rejects(auth.sessions(), { name: "AuthError", code: "unavailable" });
  await assert.rejects(auth.me(), { name: "AuthError", code: "unavailable" });
  auth.close();
  await assert.rejects(auth.me(), { name: "AuthError", code: "closed" });
});

test("N10: to end the own session is a logout", async () => {
  const told = [];
  await start({ "/auth/sessions/s-1": () => ({ status: 204 }) }, { onChange: (_, reason) => told.push(reason) });

  await auth.endSession("s-1");

  assert.equal(auth.session, null);
  assert.deepEqual(told, ["refresh", "logout"]);
});

test("N10: onChange is told why", async () => {
  const told = [];
  let ends = false;
  await start(
    {
      "/auth/refresh": () => (ends ? { status: 401, body: problem("invalid_refresh_token") } : { body: tokens() }),
      "/auth/login": () => ({ body: tokens({ sid: "s-2" }) }),
      "/auth/logout": () => ({ status: 204 }),
    },
    { onChange: (session, reason) => told.push([session && session.sessionId, reason]) },
  );

  await auth.login("ada@example.com", "a password");
  await auth.logout();
  await auth.login("ada@example.com", "a password");
  ends = true;
  await auth.refresh();

  const before = [["s-1", "refresh"], ["s-2", "login"], [null, "logout"], ["s-2", "login"]];
  assert.deepEqual(told, [...before, [null, "ended"]]);
});

for (const [name, act, reason] of [
  ["a logout", (other) => other.logout(), "elsewhere"],
  ["an end", (other) => other.refresh(), "ended"],
])
  test(`N10: ${name} in another tab is told as ${reason}`, async () => {
    let asked = 0;
    await start({
      "/auth/refresh": () =>
        ++asked > 1 ? { status: 401, body: problem("invalid_refresh_token") } : { body: tokens() },
      "/auth/logout": () => ({ status: 204 }),
    });
    const over = new Promise((told) => auth.onChange((session, why) => session ?? told(why)));
    const other = createAuth({ url: service.url });
    // Asks this one first, and so gets its token without a request.
    await auth.ready.then(() => other.ready);

    await act(other);

    assert.equal(await over, reason);
    other.close();
  });

test("P13: mayBeLoggedIn finds a session that nothing here hints at; without it nothing is asked", async () => {
  const items = new Map();
  globalThis.localStorage = {
    getItem: (name) => items.get(name) ?? null,
    setItem: (name, value) => items.set(name, value),
    removeItem: (name) => items.delete(name),
  };
  try {
    await start();
    assert.equal(auth.session, null);
    assert.equal(service.seen.length, 0);
    auth.close();

    auth = createAuth({ url: service.url, mayBeLoggedIn: true });

    assert.equal((await auth.ready).userId, "ada");
  } finally {
    delete globalThis.localStorage;
  }
});

// What the browser offers may be denied at the moment of use, or be missing.

test("P10: a BroadcastChannel that is denied counts as none", async () => {
  const { BroadcastChannel } = globalThis;
  globalThis.BroadcastChannel = class {
    constructor() {
      throw new DOMException("The request was denied.", "SecurityError");
    }
  };
  try {
    await start();
    assert.equal(auth.session.userId, "ada");
  } finally {
    globalThis.BroadcastChannel = BroadcastChannel;
  }
});

for (const method of ["getItem", "setItem", "removeItem"])
  test(`P10: localStorage whose ${method} is denied later counts as none`, async () => {
    let denied = false;
    const items = new Map();
    const storage = {
      getItem: (name) => items.get(name) ?? null,
      setItem: (name, value) => items.set(name, value),
      removeItem: (name) => items.delete(name),
    };
    globalThis.localStorage = { ...storage };
    globalThis.localStorage[method] = (...given) => {
      if (denied) throw new DOMException("The request was denied.", "SecurityError");
      return storage[method](...given);
    };
    try {
      await start({
        "/auth/login": () => ({ body: tokens() }),
        "/auth/logout": () => ({ status: 204 }),
      });
      denied = true;

      assert.equal((await auth.login("ada@example.com", "a password")).userId, "ada");
      assert.equal((await auth.refresh()).userId, "ada");
      await auth.logout();
      assert.equal(auth.session, null);
    } finally {
      delete globalThis.localStorage;
    }
  });

test("P12: without AbortSignal.reason a login takes the place of a refresh", async () => {
  const reason = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "reason");
  Object.defineProperty(AbortSignal.prototype, "reason", { value: undefined, configurable: true });
  let answer;
  try {
    await start({ "/auth/login": () => ({ body: tokens() }) });
    service.seen.length = 0;
    const slow = createAuth({ url: service.url, patience: 3600 });
    await slow.ready;
    const refreshing = slow.refresh();
    answer = await slow.login("ada@example.com", "a password");
    await refreshing;
    slow.close();
  } finally {
    Object.defineProperty(AbortSignal.prototype, "reason", reason);
  }
  assert.equal(answer.userId, "ada");
});

test("P10: a token that is no JWT is an AuthError, and leaves nothing behind", async () => {
  const odd = { access_token: "opaque", expires_in: 900, session_id: "s-9" };
  await start({ "/auth/login": () => ({ body: odd }) });

  await assert.rejects(auth.login("ada@example.com", "a password"), { name: "AuthError", code: "unexpected_answer" });
});
