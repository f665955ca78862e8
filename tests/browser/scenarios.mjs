// What happens to an application's session. SERVICE-PORT BROWSER SCENARIO; on standard input, as
// JSON: the accounts, and the page that is documented. Prints what was observed; what is right says test_single_page_app.py.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  launch, logIn, logOut, names, profile, refresh, startPage, stored, token, told, userId, whoami,
} from "./browser.mjs";
import { startProxy } from "./proxy.mjs";

const MINUTES = 60_000;
/** 80 % of an access token's fifteen minutes, and a little. */
const DUE = 12 * MINUTES + 1_000;
const HOURS = 60 * MINUTES;

const [port, executablePath, scenario, argument] = process.argv.slice(2);
const { ada, bob, page, script } = JSON.parse(readFileSync(0, "utf8"));

const proxy = await startProxy(Number(port));
const site = await startPage(proxy.url, {
  "/documented": page,
  "/app.js": script.replaceAll("http://localhost:8000", proxy.url),
});
const address = `http://localhost:${site.port}/`;
const browser = await launch(executablePath);
const me = (tab) => whoami(tab, proxy.url);
const all = (tabs, act) => Promise.all(tabs.map(act));

async function until(holds) {
  for (let tries = 0; !(await holds()); tries += 1) {
    if (tries > 1_000) throw new Error(`never: ${holds}`);
    await sleep(10);
  }
}

/** Ada, logged in, in so many tabs. */
async function loggedIn(tabs = 1, options = {}) {
  const own = await profile(browser, address, options);
  own.tabs = [await own.open()];
  own.user = await logIn(own.tabs[0], ada);
  while (own.tabs.length < tabs) own.tabs.push(await own.open());
  return own;
}

const scenarios = {
  async "sign-in"() {
    const own = await profile(browser, address);
    const tab = await own.open();
    const stranger = [await userId(tab), await token(tab), await names(tab), proxy.outcomes()];
    const wrong = await logIn(tab, { ...ada, password: "not the password" });
    const user = await logIn(tab, ada);
    const texts = Object.values(await stored(tab));
    const text = await token(tab);
    const result = {
      stranger, wrong, user, names: await names(tab), me: await me(tab), told: await told(tab),
      leaked: texts.filter((value) => text.includes(value) || value.includes("eyJ") || value.includes("art1")),
      scriptsSee: await tab.evaluate(() => document.cookie),
      cookies: (await own.context.cookies([`${proxy.url}/auth/refresh`])).map(
        ({ name, httpOnly, sameSite, path }) => ({ name, httpOnly, sameSite, path })),
    };
    await own.reload(tab);
    return { ...result, reloaded: await me(tab), complaints: own.complaints };
  },

  async "silent-refresh"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    const first = await token(tab);
    await own.forward(11 * MINUTES);
    const early = proxy.outcomes();
    await own.forward(DUE - 11 * MINUTES);
    await until(async () => (await token(tab)) !== first);
    return { early, outcomes: proxy.outcomes(), me: await me(tab), names: await names(tab),
      told: await told(tab), user: own.user, complaints: own.complaints };
  },

  /** Tabs that are due, that have all lost their memory, and that insist. */
  async tabs() {
    const own = await loggedIn(Number(argument));
    const tokens = new Set(await all(own.tabs, token));
    const opened = proxy.outcomes();
    await own.forward(DUE);
    await until(async () => !(await all(own.tabs, token)).some((text) => tokens.has(text)));
    const due = { outcomes: proxy.outcomes(), tokens: new Set(await all(own.tabs, token)).size };
    await own.restart(own.tabs);
    const restarted = proxy.outcomes();
    await all(own.tabs, refresh);
    return { opened, due, restarted, insisted: proxy.outcomes(), distinct: new Set(proxy.keys()).size,
      me: await all(own.tabs, me), told: await told(own.tabs[0]), complaints: own.complaints };
  },

  /** The answer is lost after authsvc has rotated; the next try is made hours later. */
  async "lost-answer"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    proxy.mode = "lose";
    const answered = proxy.answered();
    await own.forward(DUE);
    await answered;
    proxy.mode = "down";
    const pending = await names(tab);
    await own.forward(30 * HOURS);
    await until(() => proxy.refreshes.length > 1);
    proxy.mode = "pass";
    await own.reload(tab);
    return { pending, keys: new Set(proxy.keys()).size, outcomes: proxy.outcomes(), me: await me(tab),
      names: await names(tab), complaints: own.complaints };
  },

  async "reload-during-a-refresh"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    proxy.hold();
    const answered = proxy.answered();
    await own.forward(DUE);
    await answered;
    const reloaded = own.reload(tab);
    await until(() => proxy.refreshes.length > 1);
    proxy.mode = "pass";
    proxy.release();
    await reloaded;
    return { keys: new Set(proxy.keys()).size, outcomes: proxy.outcomes(), me: await me(tab),
      complaints: own.complaints };
  },

  async "service-down-and-back"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    proxy.mode = "busy";
    await own.forward(DUE);
    await until(() => proxy.refreshes.length === 1);
    const still = await me(tab);
    await until(async () => (await names(tab)).includes("pending"));
    await own.forward(5_000);
    const beforeRetryAfter = proxy.refreshes.length;
    proxy.mode = "down";
    await own.forward(20 * MINUTES);
    const away = await me(tab);
    const seen = { user: await userId(tab), told: await told(tab) };
    proxy.mode = "pass";
    await own.forward(MINUTES);
    await until(() => proxy.outcomes().includes("rotated"));
    return { still, beforeRetryAfter, away, seen, user: own.user, keys: new Set(proxy.keys()).size,
      back: await me(tab), outcomes: proxy.outcomes(), complaints: own.complaints };
  },

  async "logout-ends-all-tabs"() {
    const own = await loggedIn(3, { without: argument ? argument.split(",") : [] });
    const [tab, ...others] = own.tabs;
    const text = await token(tab);
    const before = await all(own.tabs, userId);
    await logOut(tab);
    await until(async () => (await all(own.tabs, userId)).every((user) => user === null));
    const refused = await tab.evaluate(
      ([url, bearer]) => fetch(url, { headers: { Authorization: `Bearer ${bearer}` } }).then((a) => a.status),
      [`${proxy.url}/auth/me`, text]);
    await all(others, own.reload);
    return { before, refused, told: await told(tab), names: await names(tab), outcomes: proxy.outcomes(),
      cookies: (await own.context.cookies([`${proxy.url}/auth/refresh`])).map(({ name }) => name),
      after: await all(own.tabs, userId), complaints: own.complaints };
  },

  /** Out of the history comes a page that has slept through the logout. */
  async "back-after-a-logout"() {
    const own = await loggedIn(2, { without: ["news"] });
    const [tab, other] = own.tabs;
    await logOut(tab);
    const asleep = await userId(other);
    await other.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
    return { user: own.user, asleep, awake: await userId(other), told: await told(other),
      complaints: own.complaints };
  },

  async "another-account-in-another-tab"() {
    const own = await loggedIn(2, { without: argument ? argument.split(",") : [] });
    const [tab, other] = own.tabs;
    await tab.evaluate(() => (window.draft = "of Ada's"));
    const bobs = await logIn(other, bob);
    await until(() => tab.evaluate(() => window.started && window.draft === undefined).catch(() => false));
    return { user: own.user, bobs, both: [await userId(tab), await userId(other)], me: await me(tab),
      told: await told(other), complaints: own.complaints };
  },

  /** The refresh is under way in one tab when another logs in; its answer comes afterwards. */
  async "login-during-a-refresh"() {
    const own = await loggedIn(2);
    const [tab, other] = own.tabs;
    proxy.hold();
    const answered = proxy.answered();
    const refreshing = refresh(tab).catch(() => "reloaded");
    await answered;
    const bobs = await logIn(other, bob);
    proxy.mode = "pass";
    proxy.release();
    await refreshing;
    await until(() => tab.evaluate(() => Boolean(window.auth?.session)).catch(() => false));
    return { bobs, refreshed: await refresh(other), both: [await userId(tab), await userId(other)],
      me: await me(tab), complaints: own.complaints };
  },

  /** A crash takes back what was not yet written to the disk: here, the newest cookie. */
  async "rolled-back-jar"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    await refresh(tab);
    const jar = await own.context.cookies();
    await refresh(tab);
    const kept = await names(tab);
    await own.context.clearCookies();
    await own.context.addCookies(jar);
    await own.reload(tab);
    const healed = [await me(tab), proxy.outcomes()];
    await refresh(tab);
    await own.forward(2 * MINUTES);
    return { kept, healed, outcomes: proxy.outcomes(), names: await names(tab), keys: proxy.keys(),
      complaints: own.complaints };
  },

  /** Five tabs in a browser that lacks something, all at once, again and again. */
  async without() {
    const own = await loggedIn(5, { without: argument.split(",") });
    for (let round = 0; round < 2; round += 1) {
      await all(own.tabs, own.reload);
      await all(own.tabs, refresh);
    }
    await own.forward(DUE);
    await all(own.tabs, refresh);
    return { user: own.user, users: await all(own.tabs, userId), me: await all(own.tabs, me),
      outcomes: [...new Set(proxy.outcomes())].sort(), complaints: own.complaints };
  },

  async "without-storage"() {
    const own = await profile(browser, address, { without: ["storage"] });
    const tab = await own.open();
    const user = await logIn(tab, ada);
    await own.reload(tab);
    const reloaded = await me(tab);
    return { user, reloaded, outcomes: proxy.outcomes(), complaints: own.complaints };
  },

  /** A page of a foreign origin tries what it can while Ada is logged in. */
  async "foreign-origin"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    const evil = await own.context.newPage();
    await evil.goto(`http://evil.localhost:${site.port}/empty`);
    const before = proxy.writes.length;
    const read = await evil.evaluate(async (service) => {
      const tries = {
        refresh: [`${service}/auth/refresh`, { method: "POST" }],
        logout: [`${service}/auth/logout`, { method: "POST" }],
        simple: [`${service}/auth/logout`, { method: "POST", mode: "no-cors", body: "{}" }],
        login: [`${service}/auth/login`, { method: "POST", mode: "no-cors",
          body: '{"email":"ada@example.com","password":"x"}' }],
        me: [`${service}/auth/me`, {}],
      };
      const seen = {};
      for (const [name, [url, options]] of Object.entries(tries)) {
        seen[name] = await fetch(url, { ...options, credentials: "include" }).then(
          (answer) => answer.type, (error) => error.name);
      }
      return seen;
    }, proxy.url);
    await evil.evaluate((service) => {
      document.body.innerHTML = `<form method="post" action="${service}/auth/logout"><input name="scope" value="all"></form>`;
      document.forms[0].submit();
    }, proxy.url);
    await until(() => proxy.writes.at(-1).outcome && proxy.writes.length >= before + 5);
    const writes = proxy.writes.slice(before).map(({ path, outcome }) => [path, outcome]);
    return { read, writes, refreshed: await refresh(tab), user: own.user, me: await me(tab),
      complaints: own.complaints };
  },

  /** The application's own mistake in a listener is reported, and touches nothing else. */
  async "listener-that-throws"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    await tab.evaluate(() => {
      auth.onChange(() => {
        throw new Error("the application's");
      });
    });
    const refreshed = await refresh(tab);
    return { user: own.user, refreshed, names: await names(tab), me: await me(tab),
      complaints: own.complaints };
  },

  /** The page of docs/single-page-apps.md, as its reader would use it. */
  async account() {
    const own = await profile(browser, address);
    const tab = await own.open();
    const result = await tab.evaluate(async ([service, password]) => {
      const email = "carol@example.com";
      const code = (outcome) => outcome.then(() => "done", (error) => error.code);
      const registered = await auth.register(email, password);
      const again = await code(auth.register(email, password));
      const nobody = await code(auth.me());
      const device = await fetch(`${service}/auth/login`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        credentials: "omit",
        body: JSON.stringify({ email, password, delivery: "native" }),
      });
      const { session_id: left } = await device.json();
      const { sessionId } = await auth.login(email, password);
      const me = await auth.me();
      const { sessions, next } = await auth.sessions();
      const listed = sessions.map(({ id, current }) => [id === sessionId, id === left, current]);
      const ended = await code(auth.endSession(left));
      const gone = await code(auth.endSession(crypto.randomUUID?.() ?? left));
      const wrong = await code(auth.changePassword("not the password", `new ${password}`));
      const changed = await code(auth.changePassword(password, `new ${password}`));
      const after = await auth.me();
      const own = await code(auth.endSession(sessionId));
      return {
        same: registered.id === me.id && me.id === after.id, email: me.email, again, nobody, listed, next,
        ended, gone, wrong, changed, own, session: auth.session,
        refused: await code(auth.login(email, password)),
      };
    }, [proxy.url, ada.password]);
    return result;
  },

  async "another-origin"() {
    const own = await loggedIn();
    const { user } = own;
    const other = await startPage(proxy.url, {});
    const tab = await own.context.newPage();
    await tab.goto(`http://localhost:${other.port}/`);
    await tab.waitForFunction(() => window.started);
    const without = await userId(tab);
    const found = await tab.evaluate(async (url) => {
      const { createAuth } = await import("/client.js");
      return (await createAuth({ url, mayBeLoggedIn: true }).ready)?.userId;
    }, proxy.url);
    other.close();
    return { user, without, found };
  },

  async "documented-page"() {
    const own = await profile(browser, `${address}documented`, { waits: false });
    const tab = await own.open();
    const shown = () => tab.locator("body").innerText();
    await tab.locator("input[name=email]").fill(ada.email);
    await tab.locator("input[name=password]").fill("not the password");
    await tab.locator("#login button").click();
    await tab.locator("#problem:not(:empty)").waitFor();
    const wrong = await shown();
    await tab.locator("input[name=password]").fill(ada.password);
    await tab.locator("#login button").click();
    await tab.getByText(ada.email).waitFor();
    const home = await shown();
    await tab.reload();
    await tab.getByText(ada.email).waitFor();
    proxy.everything = true;
    proxy.mode = "busy";
    await tab.locator("#logout").click();
    await tab.locator("#problem:not(:empty)").waitFor();
    const away = await shown();
    proxy.mode = "pass";
    await tab.locator("#logout").click();
    await tab.locator("#login").waitFor();
    return { wrong, home, away, over: await tab.locator("#home").isVisible(),
      outcomes: proxy.outcomes(), complaints: own.complaints };
  },

  /** The token goes where it belongs, and nowhere else. */
  async "unlisted-origin"() {
    const own = await loggedIn();
    const [tab] = own.tabs;
    const send = (url) => tab.evaluate((to) => auth.fetch(to).then((a) => a.status, (e) => [e.code, e.message]), url);
    return { unlisted: await send(`http://127.0.0.1:${port}/auth/me`), own: await send("/api"),
      complaints: own.complaints };
  },
};

try {
  console.log(JSON.stringify(await scenarios[scenario]()));
} finally {
  await browser.close();
  site.close();
  proxy.close();
}
