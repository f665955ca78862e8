// Use the docs page as a person would: ORIGIN BROWSER DIRECTORY; e-mail, password and token as
// JSON on standard input. Prints what happened; screenshots go to the directory.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [origin, executablePath, directory] = process.argv.slice(2);
const { email, password, token } = JSON.parse(readFileSync(0, "utf8"));

const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

const seen = { requests: [], violations: [], complaints: [] };

async function open(colorScheme) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme });
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("pageerror", (error) => seen.complaints.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.complaints.push(message.text());
  });
  await page.exposeFunction("reportViolation", (text) => seen.violations.push(text));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.reportViolation(`${event.violatedDirective}: ${event.blockedURI}`);
    });
  });
  await page.goto(`${origin}/docs`);
  await page.locator("#operations-account-me").waitFor();
  return page;
}

async function execute(page, id, body) {
  const operation = page.locator(id);
  await operation.locator(".opblock-summary-control").click();
  if (body !== undefined) await operation.locator("textarea.body-param__text").fill(body);
  await operation.locator("button.execute").click();
  const answer = operation.locator(".live-responses-table");
  await answer.waitFor();
  return {
    status: (await answer.locator("tbody .response-col_status").first().innerText()).trim(),
    text: await answer.innerText(),
  };
}

const result = { seen };
try {
  // A token that came from somewhere else.
  const page = await open("light");
  await page.screenshot({ path: join(directory, "docs.png") });
  result.refused = await execute(page, "#operations-account-me");
  await page.locator(".auth-wrapper .btn.authorize").click();
  await page.locator("#auth-bearer-value").fill(token);
  await page.screenshot({ path: join(directory, "authorize.png") });
  await page.locator('button[aria-label="Apply credentials"]').first().click();
  await page.locator("button.btn-done").first().click();
  await page.locator("#operations-account-me button.execute").click();
  await page.locator("#operations-account-me .live-responses-table", { hasText: email }).waitFor();
  result.authorized = {
    text: await page.locator("#operations-account-me .live-responses-table").innerText(),
  };
  await page.screenshot({ path: join(directory, "me.png"), fullPage: true });
  await page.close();

  // Log in on the page, and go on.
  const other = await open("dark");
  await other.screenshot({ path: join(directory, "dark.png") });
  const body = JSON.stringify({ email, password });
  result.login = await execute(other, "#operations-session-login", body);
  result.afterLogin = await execute(other, "#operations-account-me");
  result.refresh = await execute(other, "#operations-session-refresh", "");
} finally {
  await browser.close();
}
console.log(JSON.stringify(result));
