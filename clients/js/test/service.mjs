// A stand-in for authsvc that answers as a test tells it, and time that passes when it is told to.
import { createServer } from "node:http";

// The client asks nothing where there is no page.
globalThis.document ??= {};

const real = { setTimeout, clearTimeout };
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

let issued = 0;

/** A token answer of Ada's; each has another token. */
export function tokens({ sub = "ada", sid = "s-1", expires_in = 900 } = {}) {
  issued += 1;
  const claims = { sub, sid, jti: String(issued), roles: ["reader", "größe"] };
  return { access_token: `${encode({ alg: "RS256" })}.${encode(claims)}.c2ln`, expires_in, session_id: sid };
}

export const problem = (code) => ({ type: "about:blank", title: code, status: 0, detail: `It is ${code}.`, code });

/**
 * @param answer What to answer to a request `{path, key, headers, body}`: `{status, body, headers}`,
 *   or null to hang up.
 */
export async function serve(answer) {
  const seen = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const asked = { path: request.url, key: request.headers["idempotency-key"], headers: request.headers, body };
    seen.push(asked);
    const { status = 200, body: content = {}, headers = {} } = (await answer(asked, seen.length)) ?? { status: 0 };
    if (status === 0) return request.socket.destroy();
    const text = typeof content === "string" ? content : JSON.stringify(content);
    if (headers["content-length"]) {
      response.writeHead(status, headers).write(text);
      return setImmediate(() => request.socket.destroy());
    }
    response.writeHead(status, headers).end(status === 204 ? undefined : text);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    seen,
    keys: () => seen.filter(({ path }) => path === "/auth/refresh").map(({ key }) => key),
    close: () => (server.closeAllConnections(), server.close()),
  };
}

/** How long a request may take (src/transport.ts): never over, since the stand-in always answers. */
const REQUEST = 20_000;
const STEP = 100;

let now = 0;
let timers = new Map();
let last = 0;

/** What the client has asked to wait for, in milliseconds, but for answers. */
export let waits = [];

/** The client's timers stand still from now on; the fetch of Node.js keeps its own. */
export function stopTime() {
  timers = new Map();
  waits = [];
  globalThis.setTimeout = (act, wait = 0, ...rest) => {
    const [, , caller] = new Error().stack.split("\n");
    if (!caller.includes("/dist/index.js")) return real.setTimeout(act, wait, ...rest);
    if (wait !== REQUEST) waits.push(wait);
    timers.set((last += 1), { act, at: wait === REQUEST ? Infinity : now + wait });
    return last;
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer) || real.clearTimeout(timer);
}

export const letTimeGo = () => void Object.assign(globalThis, real);

/** Let virtual time pass until something holds. */
export async function passUntil(holds) {
  for (let tries = 0; !(await holds()); tries += 1) {
    if (tries > 10_000) throw new Error(`never: ${holds}`);
    await new Promise((done) => real.setTimeout(done, 1)); // The loopback network is real.
    now += STEP;
    for (const [timer, { act, at }] of timers) if (at <= now && timers.delete(timer)) act();
  }
}
