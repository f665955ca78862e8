// Use README's page snippet in two tabs: SERVICE BROWSER; e-mail, password and the snippet as JSON on
// standard input. Somebody else loses the answer to the second refresh. Prints what happened.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [service, executablePath] = process.argv.slice(2);
const { email, password, snippet } = JSON.parse(readFileSync(0, "utf8"));
const HTML = '<script type="module">window.auth = await import("./auth.js")</script>';

// A page that Playwright made up would be of no address at all, and could not call this machine.
const server = createServer((request, response) => {
  const script = request.url === "/auth.js";
  response.setHeader("content-type", script ? "text/javascript" : "text/html");
  response.end(script ? snippet : HTML);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const PAGE = `http://localhost:${server.address().port}`;

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const result = { refreshes: [] };

async function open(context) {
  const page = await context.newPage();
  page.on("response", (answer) => {
    if (answer.url().endsWith("/auth/refresh") && answer.request().method() === "POST") {
      const { "authsvc-refresh": outcome } = answer.headers();
      result.refreshes.push(outcome ?? answer.status());
    }
  });
  await page.goto(PAGE);
  await page.waitForFunction(() => window.auth);
  return page;
}

const logIn = (page, secret) =>
  page.evaluate(([e, p]) => window.auth.login(e, p).then(Boolean, (error) => error.message), [email, secret]);

// Who the page is, with a fresh access token if it has lost its own.
const whoami = (page) =>
  page.evaluate(async (url) => (await (await window.auth.api(url))?.json()) ?? null, `${service}/auth/me`);

try {
  const context = await browser.newContext();
  const page = await open(context);
  result.stranger = await whoami(page);
  result.wrong = await logIn(page, "not the password");
  result.login = await logIn(page, password);
  result.storage = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  result.scriptsSee = await page.evaluate(() => document.cookie);
  result.me = await whoami(page);
  await page.reload(); // the access token is gone, the cookie is not
  await page.waitForFunction(() => window.auth);
  result.reloaded = await whoami(page);
  result.lost = [await page.evaluate(() => window.auth.refresh()), await whoami(page)];
  const other = await open(context);
  result.together = await Promise.all(
    [page, other, page, other].map((tab) => tab.evaluate(() => window.auth.refresh())),
  );
  result.keys = await page.evaluate(() => Object.keys(localStorage));
  result.after = [await whoami(page), await whoami(other)];
  await page.evaluate(() => window.auth.logout());
  result.loggedOut = await whoami(other);

  // As on plain http at another name than localhost.
  const plain = await (await browser.newContext()).newPage();
  await plain.addInitScript(() => {
    Object.defineProperty(navigator, "locks", { value: undefined });
    delete Crypto.prototype.randomUUID;
  });
  await plain.goto(PAGE);
  await plain.waitForFunction(() => window.auth);
  const registering = () => plain.evaluate(
    ([e, p]) => window.auth.register(e, p).then(({ email }) => email, (error) => error.message),
    [`new-${email}`, password]);
  result.registered = [await registering(), await registering()];
  await logIn(plain, password);
  await plain.reload();
  await plain.waitForFunction(() => window.auth);
  result.plain = await whoami(plain);
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(result));
