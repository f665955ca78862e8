// What a browser does for pages that are not ours: SERVICE-PORT OWN-PORT PAGES-PORT BROWSER; on
// standard input, as JSON, the account. At its own port authsvc is auth.app.localhost for everybody;
// www.app.localhost is listed, evil.app.localhost is not, though it is the same site: browsers add
// all cookies to its requests. Prints what was observed.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { launch } from "./browser.mjs";
import { startProxy } from "./proxy.mjs";

const [port, ownPort, pagePort, executablePath] = process.argv.slice(2);
const { email, password } = JSON.parse(readFileSync(0, "utf8"));
const proxy = await startProxy(Number(port), Number(ownPort));
const authsvc = `http://auth.app.localhost:${ownPort}`;

// One server is every page; the host in the address tells whose.
const pages = createServer((_, response) => {
  response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>A page</title>");
});
await new Promise((listening) => pages.listen(Number(pagePort), "127.0.0.1", listening));
const at = (host) => `http://${host}:${pagePort}`;

const browser = await launch(executablePath);
const context = await browser.newContext();
async function open(address) {
  const tab = await context.newPage();
  await tab.goto(address);
  return tab;
}

/** A request of a script, with cookies; its status, or "blocked" if the page may not read it. */
const ask = (tab, method, path, headers = {}, body = null) =>
  tab.evaluate(
    ([url, options]) => fetch(url, options).then(({ status }) => status, () => "blocked"),
    [authsvc + path, { method, headers, body, credentials: "include" }],
  );

const JSON_BODY = { "Content-Type": "application/json" };

/** All writes that cookies authenticate: by script, as far as that goes without a preflight, and with. */
async function writes(tab, csrf) {
  const token = { "X-CSRF-Token": csrf };
  return {
    refresh: await ask(tab, "POST", "/auth/refresh"),
    refreshWithToken: await ask(tab, "POST", "/auth/refresh", token),
    endSession: await ask(tab, "DELETE", "/auth/sessions/0199f3a1-6c1e-7cc0-9d65-5f8f3f3a1b52", token),
    password: await ask(tab, "POST", "/auth/password/change", { ...JSON_BODY, ...token },
      JSON.stringify({ current_password: "not it at all", new_password: "something else entirely" })),
    logout: await ask(tab, "POST", "/auth/logout"),
  };
}

/** The same by a form, which needs nobody's permission. */
async function submit(tab, path) {
  const [answer] = await Promise.all([
    tab.waitForResponse((response) => response.url() === authsvc + path),
    tab.evaluate((url) => {
      const form = Object.assign(document.createElement("form"), { method: "post", action: url });
      document.body.append(form);
      form.submit();
    }, authsvc + path),
  ]);
  return answer.status();
}

/** Whether a page can look into /auth/continue in a frame. */
async function frame(tab, url) {
  await tab.evaluate((src) => {
    document.body.append(Object.assign(document.createElement("iframe"), { src }));
  }, url);
  const [, inner] = tab.frames();
  await inner.waitForLoadState();
  return inner.locator("main").count();
}

const result = {};
try {
  const home = await open(at("www.app.localhost"));
  const login = await home.evaluate(
    ([url, body]) => fetch(url, {
      method: "POST", credentials: "include", headers: { "Content-Type": "application/json" }, body,
    }).then((answer) => answer.json()),
    [`${authsvc}/auth/login`, JSON.stringify({ email, password, delivery: "web" })],
  );
  const csrf = login.csrf_token;
  result.shared = await home.evaluate(() => document.cookie.includes("authsvc_csrf="));
  proxy.writes.length = 0;

  const evil = await open(at("evil.app.localhost"));
  result.stolen = await evil.evaluate(() => document.cookie.includes("authsvc_csrf="));
  result.evil = await writes(evil, csrf);
  result.evilForms = [];
  for (const path of ["/auth/refresh", "/auth/logout"]) {
    result.evilForms.push(await submit(await open(at("evil.app.localhost")), path));
  }
  const otherSite = await open(at("evil.localhost"));
  result.otherSite = await writes(otherSite, csrf);

  const back = encodeURIComponent(`${at("www.app.localhost")}/`);
  const good = `${authsvc}/auth/continue?return_to=${back}`;
  result.framed = await frame(evil, good);
  result.read = await ask(evil, "GET", `/auth/continue?return_to=${back}`);
  const bad = await context.newPage();
  const refused = await bad.goto(
    `${authsvc}/auth/continue?return_to=${encodeURIComponent(`${at("evil.app.localhost")}/`)}`);
  result.unlisted = [refused.status(), new URL(bad.url()).host.split(":")[0]];
  result.writes = [...proxy.writes];

  // After all of that the session is what it was, for the page that is listed.
  result.www = await writes(home, csrf);
  await context.clearCookies();
  await home.evaluate(
    ([url, body]) => fetch(url, {
      method: "POST", credentials: "include", headers: { "Content-Type": "application/json" }, body,
    }),
    [`${authsvc}/auth/login`, JSON.stringify({ email, password, delivery: "web" })],
  );
  await context.clearCookies({ name: "authsvc_access" });
  await home.goto(good);
  await home.waitForURL(`${at("www.app.localhost")}/`);
  result.renewed = (await context.cookies(at("www.app.localhost"))).some(
    ({ name }) => name === "authsvc_access");
} finally {
  await browser.close();
  pages.close();
  proxy.close();
}
console.log(JSON.stringify(result));
