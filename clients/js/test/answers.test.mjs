// What each answer to a refresh means (docs/refresh-families.md, "What to expect").
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createAuth } from "../dist/index.js";
import { letTimeGo, passUntil, problem, serve, stopTime, tokens, waits } from "./service.mjs";

let service;
let auth;

beforeEach(stopTime);
afterEach(() => {
  auth?.close();
  service?.close();
  letTimeGo();
});

const PATIENCE = 3600;
/** How long the client waited before it tried again; shorter waits are for other tabs. */
const pauses = () => waits.filter((wait) => wait >= 1000 && wait !== PATIENCE * 1000);

/** Start against these answers to refreshes, in turn; the last one goes on. */
async function start(...answers) {
  let turn = 0;
  service = await serve(() => answers[Math.min(turn++, answers.length - 1)]);
  auth = createAuth({ url: service.url, patience: PATIENCE });
  let settled = false;
  const over = () => (settled = true);
  auth.ready.then(over, over);
  await passUntil(() => settled);
  return auth.ready.catch((error) => error);
}

const good = () => ({ body: tokens(), headers: { "Authsvc-Refresh": "rotated" } });

test("a 200 begins a session, with what the token says", async () => {
  const outcome = await start(good());

  assert.equal(outcome.userId, "ada");
  assert.equal(outcome.sessionId, "s-1");
  assert.deepEqual(outcome.roles, ["reader", "größe"]);
  assert.ok(Math.abs(outcome.expiresAt - Date.now() - 900_000) < 10_000);
});

test("a 401 invalid_refresh_token means that nobody is logged in, and is not repeated", async () => {
  const outcome = await start({ status: 401, body: problem("invalid_refresh_token") });

  assert.equal(outcome, null);
  assert.equal(service.seen.length, 1);
});

for (const [name, lost] of Object.entries({
  "no answer": null,
  "half an answer": { body: '{"access_tok', headers: { "content-length": "900" } },
  "a 200 of somebody else": { body: "<html>Welcome to our Wi-Fi</html>" },
  "a 401 of somebody else": { status: 401, body: "Proxy authentication required" },
  "a 429": { status: 429, body: "slower" },
  "a 500": { status: 500, body: problem("internal_error") },
  "a 502 of a proxy": { status: 502, body: "<html>Bad gateway</html>" },
  "a 503": { status: 503, body: problem("database_unavailable") },
})) {
  test(`${name} is followed by the same key, and a 200 by another`, async () => {
    const outcome = await start(lost, lost, good());
    const refreshed = auth.refresh();
    await passUntil(() => service.seen.length === 4);
    await refreshed;

    assert.equal(outcome.userId, "ada");
    const [first, second, third, next] = service.keys();
    assert.match(first, /^[0-9a-f]{32}$/);
    assert.equal(first, second);
    assert.equal(first, third);
    assert.notEqual(first, next);
  });
}

for (const [header, least] of [
  ["7", 7_000],
  [new Date(Date.now() + 60_000).toUTCString(), 55_000],
]) {
  test(`Retry-After: ${header.length > 3 ? "a date" : header} is waited for`, async () => {
    const busy = { status: 503, body: problem("database_unavailable") };
    await start({ ...busy, headers: { "Retry-After": header } }, good());

    const [pause] = pauses();
    assert.ok(pause >= least && pause <= 1.6 * least, `${pause} ms`);
  });
}

test("pauses grow, up to about half a minute", async () => {
  const expected = [1, 2, 4, 8, 16, 30, 30];
  await start(...expected.map(() => null), good());

  for (const [turn, seconds] of expected.entries()) {
    const pause = pauses()[turn] / 1000;
    assert.ok(pause >= seconds && pause <= 1.5 * seconds, `${turn}: ${pause} s`);
  }
});

for (const [status, code] of [
  [403, "csrf_failed"],
  [422, "validation_error"],
  [400, "duplicate_credentials"],
]) {
  test(`${status} ${code} is a mistake of the application: said, and not repeated`, async () => {
    const outcome = await start({ status, body: problem(code) });

    assert.equal(outcome.name, "AuthError");
    assert.equal(outcome.code, code);
    assert.equal(outcome.status, status);
    assert.equal(outcome.problem.detail, `It is ${code}.`);
    assert.equal(service.seen.length, 1);
  });
}

test("a 404 that is not authsvc's is a wrong address: said, and not repeated", async () => {
  const outcome = await start({ status: 404, body: "<html>Not found</html>" });

  assert.equal(outcome.code, "unexpected_answer");
  assert.match(outcome.message, /404/);
  assert.equal(service.seen.length, 1);
});

test("a call waits for as long as its patience, and the session goes on", async () => {
  let away = true;
  service = await serve(() => (away ? { status: 503, body: problem("database_unavailable") } : good()));
  const told = [];
  auth = createAuth({ url: service.url, patience: 2, onChange: (session) => told.push(session?.userId) });
  let refused;
  auth.ready.catch((error) => (refused = error));

  await passUntil(() => refused);
  away = false;
  await passUntil(() => auth.session);

  assert.equal(refused.code, "unavailable");
  assert.ok(waits.includes(2_000));
  assert.deepEqual(told, ["ada"]);
  assert.equal(new Set(service.keys()).size, 1);
});

test("another session than the page's stops the client and tells the application", async () => {
  let sid = "s-1";
  let others = 0;
  service = await serve(() => ({ body: tokens({ sid }) }));
  auth = createAuth({ url: service.url, onOtherSession: () => (others += 1) });
  await passUntil(() => auth.session);
  sid = "s-2";
  const refused = assert.rejects(auth.refresh(), { code: "session_changed" });
  await passUntil(() => service.seen.length === 2);

  await refused;
  await assert.rejects(auth.fetch(`${service.url}/x`), { code: "session_changed" });
  await assert.rejects(auth.login("a", "b"), { code: "session_changed" });
  assert.equal(others, 1);
  assert.equal(auth.session, null);
});

test("P31: in a worker another session stops the client, and no page is sought that could be loaded anew", async () => {
  let sid = "s-1";
  const { document } = globalThis;
  delete globalThis.document;
  globalThis.WorkerGlobalScope = class {};
  globalThis.location = new URL("https://app.example/worker.js"); // as a WorkerLocation, without reload()
  try {
    service = await serve(() => ({ body: tokens({ sid }) }));
    auth = createAuth({ url: service.url });
    await passUntil(() => auth.session);
    sid = "s-2";
    const refused = assert.rejects(auth.refresh(), { code: "session_changed" });
    await passUntil(() => service.seen.length === 2);

    await refused;
    await assert.rejects(auth.token(), { code: "session_changed" });
  } finally {
    delete globalThis.location;
    delete globalThis.WorkerGlobalScope;
    globalThis.document = document;
  }
});
