// A proxy in front of authsvc that fails on command, and writes down every refresh.
import { createServer, request as ask } from "node:http";

/**
 * `mode` decides what becomes of refreshes (and with `everything`, of all requests):
 * "pass"; "lose": authsvc answers, and the connection is cut; "hold": its answer waits for
 * `release()`; "down": cut at once; "busy": 503 with Retry-After, as authsvc words it.
 */
export async function startProxy(port, ownPort = 0) {
  const proxy = { mode: "pass", everything: false, refreshes: [], writes: [], retryAfter: 7 };
  let released;
  let arrived = () => undefined;

  const server = createServer(async (request, response) => {
    const isWrite = request.method === "POST" || request.method === "DELETE";
    const isRefresh = isWrite && request.url === "/auth/refresh";
    const entry = {
      path: request.url,
      method: request.method,
      origin: request.headers.origin ?? null,
      site: request.headers["sec-fetch-site"] ?? null,
      cookies: (request.headers.cookie ?? "").split("; ").map((pair) => pair.split("=")[0]).sort(),
    };
    if (isRefresh) {
      entry.key = request.headers["idempotency-key"] ?? null;
      proxy.refreshes.push(entry);
    }
    if (isWrite) proxy.writes.push(entry);
    const mode = isRefresh || (proxy.everything && isWrite) ? proxy.mode : "pass";
    if (mode === "down") return request.socket.destroy();
    if (mode === "busy") {
      entry.outcome = 503;
      request.resume();
      response.writeHead(503, {
        "Content-Type": "application/problem+json",
        "Retry-After": String(proxy.retryAfter),
        "Access-Control-Allow-Origin": request.headers.origin ?? "null",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
      });
      return response.end(JSON.stringify({ code: "database_unavailable", detail: "away" }));
    }
    const { method, url: path, headers } = request;
    const forwarded = ask({ host: "127.0.0.1", port, method, path, headers }, async (answer) => {
      entry.outcome = answer.headers["authsvc-refresh"] ?? answer.statusCode;
      const parts = [];
      for await (const part of answer) parts.push(part);
      if (isRefresh) arrived();
      if (mode === "lose") return request.socket.destroy();
      if (mode === "hold") await released;
      response.writeHead(answer.statusCode, answer.rawHeaders);
      response.end(Buffer.concat(parts));
    });
    forwarded.on("error", () => request.socket.destroy());
    request.pipe(forwarded);
  });
  await new Promise((listening) => server.listen(ownPort, "127.0.0.1", listening));

  proxy.url = `http://localhost:${server.address().port}`;
  proxy.outcomes = () => proxy.refreshes.map(({ outcome }) => outcome ?? "none");
  proxy.keys = () => proxy.refreshes.map(({ key }) => key);
  /** Resolves when authsvc has answered the next refresh. */
  proxy.answered = () => new Promise((done) => (arrived = done));
  proxy.hold = () => {
    proxy.mode = "hold";
    released = new Promise((release) => (proxy.release = release));
  };
  proxy.close = () => (server.closeAllConnections(), server.close());
  return proxy;
}
