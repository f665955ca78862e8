// Use the server-rendered example as a person would, and as an attacker: SERVICE-PORT OWN-PORT
// APPLICATION BROWSER DIRECTORY SCENARIO; on standard input, as JSON, the account. Own port: where
// authsvc is for everybody, so that its answers can be lost. Prints what was observed.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "./browser.mjs";
import { startProxy } from "./proxy.mjs";

const [port, ownPort, app, executablePath, directory, scenario] = process.argv.slice(2);
const { email, password } = JSON.parse(readFileSync(0, "utf8"));
const proxy = await startProxy(Number(port), Number(ownPort));
const browser = await launch(executablePath);
const context = await browser.newContext();
const complaints = [];

/** A page of another site than ours: `127.0.0.1` is not `localhost`. */
const foreign = createServer((_, response) => {
  response.writeHead(200, { "Content-Type": "text/html" }).end(`
    <a id="link" href="${app}/notes">A link in a mail</a>
    <form id="forged" method="post" action="${app}/notes">
      <input name="text" value="forged"><input name="csrf_token" value="guessed"></form>`);
});
await new Promise((listening) => foreign.listen(0, "127.0.0.1", listening));
const at = (host) => `http://${host}:${foreign.address().port}/`;

async function open() {
  const tab = await context.newPage();
  tab.on("pageerror", (error) => complaints.push(String(error)));
  tab.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  return tab;
}

async function signIn(tab, given = password) {
  await tab.goto(`${app}/sign-in`);
  await tab.locator("input[name=email]").fill(email);
  await tab.locator("input[name=password]").fill(given);
  await tab.getByRole("button", { name: "Sign in" }).click();
}

async function signedIn() {
  const tab = await open();
  await signIn(tab);
  await tab.waitForURL(`${app}/notes`);
  return tab;
}

async function add(tab, text) {
  await tab.locator("input[name=text]").fill(text);
  await tab.getByRole("button", { name: "Add" }).click();
}

const listed = (tab) => tab.locator("li").allInnerTexts();
/** What the browser does by itself when Max-Age is over. */
const expire = () => context.clearCookies({ name: "authsvc_access" });
const names = async (url) => (await context.cookies(url)).map(({ name }) => name).sort();
const keys = () => new Set(proxy.keys()).size;
const stored = (tab) => tab.evaluate(() => Object.keys(localStorage).map((name) => name.split(" ").at(-1)));
const path = (tab) => { const { pathname, search } = new URL(tab.url()); return pathname + search; };

async function photograph(tab, name) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, width] of [["wide", 1280], ["narrow", 390]]) {
      await tab.emulateMedia({ colorScheme });
      await tab.setViewportSize({ width, height: 700 });
      await tab.screenshot({ path: join(directory, `${name}-${colorScheme}-${size}.png`) });
    }
  }
}

const scenarios = {
  async "a-session"() {
    const tab = await open();
    await tab.goto(`${app}/notes`);
    await tab.waitForURL(`${app}/sign-in`);
    const stranger = proxy.outcomes();
    await signIn(tab, "not the password");
    await tab.locator("#problem:not(:empty)").waitFor();
    const wrong = await tab.locator("#problem").innerText();
    await signIn(tab);
    await tab.waitForURL(`${app}/notes`);
    const scriptsSee = await tab.evaluate(() => document.cookie.split("; ").map((pair) => pair.split("=")[0]));
    await add(tab, "Buy <b>milk</b>.");
    await tab.waitForURL(`${app}/notes`);
    const written = await listed(tab);
    await expire();
    await tab.goto(`${app}/notes?page=2&q=%22a%20b%22`);
    await tab.waitForURL(/page=2/);
    const renewed = [path(tab), await listed(tab), proxy.outcomes()];
    await add(tab, "Sell it.");
    await tab.waitForURL(`${app}/notes`);
    const after = await listed(tab);
    await tab.getByRole("button", { name: "Sign out" }).click();
    await tab.waitForURL(`${app}/sign-in`);
    const left = await names(`${proxy.url}/auth/refresh`);
    await tab.goto(`${app}/notes`);
    await tab.waitForURL(`${app}/sign-in`);
    return { stranger, wrong, scriptsSee, written, renewed, after, left, outcomes: proxy.outcomes() };
  },

  /** SameSite cookies are the browser's business, also on the way over authsvc and back. */
  async "a-link-from-elsewhere"() {
    const tab = await signedIn();
    await tab.goto(at("127.0.0.1"));
    await tab.locator("#link").click();
    await tab.waitForURL(`${app}/notes`);
    await add(tab, "From a link.");
    await tab.waitForURL(`${app}/notes`);
    await expire();
    await tab.goto(at("127.0.0.1"));
    await tab.locator("#link").click();
    await tab.waitForURL(`${app}/notes`);
    await add(tab, "From a link, renewed.");
    await tab.waitForURL(`${app}/notes`);
    return { notes: await listed(tab), outcomes: proxy.outcomes() };
  },

  async "an-outage"() {
    const tab = await signedIn();
    await expire();
    proxy.mode = "busy";
    await tab.goto(`${app}/notes`);
    await tab.getByText("You are still signed in.").waitFor();
    const waiting = [await tab.locator("#title").innerText(), await tab.locator("#text").innerText()];
    const kept = await stored(tab);
    await photograph(tab, "waiting");
    proxy.mode = "lose";
    const answered = proxy.answered();
    await tab.getByRole("button", { name: "Try now" }).click();
    await answered;
    proxy.mode = "down";
    await tab.reload();
    await tab.getByText("You are still signed in.").waitFor();
    proxy.mode = "pass";
    await tab.waitForURL(`${app}/notes`);
    return { waiting, kept, keys: keys(), outcomes: proxy.outcomes(), notes: await listed(tab) };
  },

  async "several-tabs"() {
    const tabs = [await signedIn(), await open(), await open()];
    await expire();
    proxy.hold();
    const answered = proxy.answered();
    const going = tabs.map((tab) => tab.goto(`${app}/notes`, { waitUntil: "commit" }));
    await Promise.all(going);
    await answered;
    await photograph(tabs[0], "renewing");
    const together = proxy.outcomes();
    proxy.mode = "pass";
    proxy.release();
    await Promise.all(tabs.map((tab) => tab.waitForURL(`${app}/notes`)));
    return { together, outcomes: proxy.outcomes(), at: tabs.map(path) };
  },

  async "an-end"() {
    const tab = await signedIn();
    const dead = await context.cookies(`${proxy.url}/auth/refresh`);
    await tab.getByRole("button", { name: "Sign out" }).click();
    await tab.waitForURL(`${app}/sign-in`);
    // As if it had been ended on another device: the cookies are still here.
    await context.addCookies(dead.filter(({ name }) => name !== "authsvc_access"));
    await tab.goto(`${app}/notes`);
    await tab.waitForURL(`${app}/sign-in`);
    const outcomes = proxy.outcomes();
    await tab.goto(`${proxy.url}/auth/continue?return_to=${app}/notes`);
    await tab.getByText("Your session has ended.").waitFor();
    await photograph(tab, "ended");
    return { outcomes, title: await tab.title(), back: await tab.getByRole("link").getAttribute("href") };
  },

  /** A single-page app of the same host has a session of its own; a CSRF cookie is left of an older one. */
  async "another-kind-of-session"() {
    const tab = await open();
    await tab.goto(`${app}/sign-in`);
    await tab.evaluate(
      ([url, body]) => fetch(url, {
        method: "POST", credentials: "include", headers: { "Content-Type": "application/json" }, body,
      }),
      [`${proxy.url}/auth/login`, JSON.stringify({ email, password })],
    );
    await context.addCookies([{ name: "authsvc_csrf", value: "old", url: proxy.url }]);
    await tab.goto(`${app}/notes`);
    await tab.waitForURL(`${app}/sign-in`);
    return { outcomes: proxy.outcomes() };
  },

  async "no-script"() {
    const plain = await browser.newContext({ javaScriptEnabled: false });
    const tab = await plain.newPage();
    await tab.goto(`${app}/notes`);
    const shown = await tab.locator("main").innerText();
    const [again, elsewhere] = await tab.locator("noscript a").evaluateAll((links) => links.map(({ href }) => href));
    await photograph(tab, "no-script");
    return { shown, again, elsewhere, at: tab.url(), outcomes: proxy.outcomes() };
  },

  /** The application accepts nothing: its cookie is taken away whenever it comes back. */
  async "a-loop"() {
    const tab = await signedIn();
    let rounds = 0;
    await tab.route(`${app}/notes`, async (route) => {
      rounds += 1;
      await expire();
      const headers = { ...route.request().headers() };
      delete headers.cookie;
      await route.continue({ headers });
    });
    await expire();
    await tab.goto(`${app}/notes`).catch(() => undefined);
    await tab.getByText("again and again").first().waitFor();
    await photograph(tab, "loop");
    await sleep(300);
    const result = { rounds, title: await tab.title(), outcomes: proxy.outcomes() };
    await tab.unroute(`${app}/notes`);
    await tab.getByRole("button", { name: "Try again" }).click();
    await tab.waitForURL(`${app}/notes`);
    return { ...result, resolved: path(tab) };
  },

  /** A form that was filled in for longer than the access cookie lives. */
  async "a-late-form"() {
    const tab = await signedIn();
    await expire();
    await add(tab, "Long thought of.");
    await tab.getByText("nothing is saved yet").waitFor();
    const draft = await tab.locator("input[name=text]").inputValue();
    const [other] = await Promise.all([
      context.waitForEvent("page"),
      tab.getByRole("link", { name: "new tab" }).click(),
    ]);
    await other.getByText("You can close this tab.").waitFor();
    await tab.getByRole("button", { name: "Add" }).click();
    await tab.getByText("Long thought of.").waitFor();
    return { draft, notes: await listed(tab) };
  },

  async "a-forged-form"() {
    const tab = await signedIn();
    const other = await open();
    const answers = [];
    // Another site, whose browser sends no cookie; and another port of this host, where it does.
    for (const host of ["127.0.0.1", "localhost"]) {
      for (const gone of [false, true]) {
        if (gone) await expire();
        await other.goto(at(host));
        const [answer] = await Promise.all([
          other.waitForResponse(`${app}/notes`),
          other.evaluate(() => document.getElementById("forged").submit()),
        ]);
        await answer.finished();
        answers.push([answer.status(), (await answer.text()).includes("forged")]);
        await other.waitForURL(`${app}/notes`);
        await tab.goto(`${app}/notes`);
        await tab.waitForURL(`${app}/notes`);
      }
    }
    return { answers, notes: await listed(tab) };
  },
};

const result = { complaints };
try {
  Object.assign(result, await scenarios[scenario]());
} finally {
  await browser.close();
  proxy.close();
  foreign.close();
}
console.log(JSON.stringify(result));
