// A real Chromium, and a page of an application that uses the client.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const clients = new URL("../clients/package.json", import.meta.url);
const { chromium } = createRequire(clients)("playwright-core");
const BUILT = new URL("../../clients/js/dist/index.js", import.meta.url);

/** The application: it shows who is logged in, and remembers what it was told. */
const page = (service) => `<!doctype html><title>Application</title><p id="who">…</p>
<script type="module">
  import { createAuth } from "/client.js";
  window.told = [];
  window.auth = createAuth({ url: "${service}", patience: 3 });
  auth.onChange((session) => {
    told.push(session && session.userId);
    who.textContent = session ? session.userId : "nobody";
  });
  auth.ready.catch(() => null).then((session) => (window.started = true));
</script>`;

/** Serves the application on a port of its own, and `files` (text by path) beside it. */
export async function startPage(service, files = {}) {
  const client = readFileSync(fileURLToPath(BUILT));
  const served = { "/": page(service), "/client.js": client, "/authsvc-client.js": client, ...files };
  const server = createServer((request, response) => {
    const [path] = request.url.split("?");
    const type = path.endsWith(".js") ? "text/javascript" : "text/html";
    response.writeHead(200, { "Content-Type": `${type}; charset=utf-8` }).end(served[path] ?? "");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { port: server.address().port, close: () => (server.closeAllConnections(), server.close()) };
}

export async function launch(executablePath) {
  return chromium.launch({
    executablePath,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}

/** A browser profile whose tabs have the application open. */
export async function profile(browser, address, { without = [], waits = true } = {}) {
  const context = await browser.newContext();
  const complaints = [];
  await context.clock.install();
  await context.addInitScript((missing) => {
    if (missing.includes("locks")) Object.defineProperty(navigator, "locks", { value: undefined });
    if (missing.includes("channel")) delete window.BroadcastChannel;
    if (missing.includes("news")) {
      delete window.BroadcastChannel;
      window.addEventListener("storage", (event) => event.stopImmediatePropagation());
    }
    if (missing.includes("storage")) Object.defineProperty(window, "localStorage", {
      get() { throw new DOMException("denied", "SecurityError"); },
    });
  }, without);
  const started = (tab) => tab.waitForFunction(() => window.started);
  return {
    context,
    complaints,
    async open() {
      const tab = await context.newPage();
      tab.on("pageerror", (error) => complaints.push(String(error)));
      tab.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) complaints.push(message.text());
      });
      await tab.goto(address);
      if (waits) await started(tab);
      return tab;
    },
    async reload(tab) {
      await tab.reload();
      await started(tab);
    },
    /** Every tab loses its memory before the first one starts again. */
    async restart(tabs) {
      await Promise.all(tabs.map((tab) => tab.goto("about:blank")));
      await Promise.all(tabs.map((tab) => tab.goto(address)));
      await Promise.all(tabs.map(started));
    },
    forward: (milliseconds) => context.clock.fastForward(milliseconds),
  };
}

// What a tab is asked to do.

/** The user id, or the code of the refusal. */
export const logIn = (tab, { email, password }) =>
  tab.evaluate(([e, p]) => auth.login(e, p).then((s) => s.userId, (error) => error.code), [email, password]);

export const logOut = (tab) => tab.evaluate(() => auth.logout().catch((error) => error.code));

export const refresh = (tab) =>
  tab.evaluate(() => auth.refresh().then((s) => s && s.userId, (error) => error.code));

export const token = (tab) => tab.evaluate(() => auth.token().catch((error) => error.code));

export const userId = (tab) => tab.evaluate(() => auth.session && auth.session.userId);

/** What the service says about who the tab is: a status, and an address. */
export const whoami = (tab, service) =>
  tab.evaluate(
    (url) => auth.fetch(url).then(async (a) => [a.status, (await a.json()).email ?? null], (e) => e.code),
    `${service}/auth/me`,
  );

export const told = (tab) => tab.evaluate(() => window.told);

export const stored = (tab) => tab.evaluate(() => ({ ...localStorage, ...sessionStorage }));

/** What is stored, without the prefix, and only the names. */
export const names = async (tab) =>
  Object.keys(await stored(tab)).map((name) => name.split(" ").at(-1)).sort();
