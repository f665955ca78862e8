// Use the demo as a person would: ORIGIN BROWSER DIRECTORY. Prints what happened; screenshots in
// light and dark, narrow and wide, go to the directory.
import { join } from "node:path";
import { launch } from "./browser.mjs";

const [origin, executablePath, directory] = process.argv.slice(2);
const browser = await launch(executablePath);
const seen = { requests: [], violations: [], complaints: [] };

async function open(context) {
  const page = await context.newPage();
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("pageerror", (error) => seen.complaints.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.complaints.push(message.text());
  });
  await page.goto(`${origin}/demo`);
  await page.locator("#stranger, #home").locator("visible=true").first().waitFor();
  return page;
}

async function photograph(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, width] of [["wide", 1280], ["narrow", 390]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (overflow > 0) seen.complaints.push(`${name} ${size}: ${overflow} px wider than the window`);
      await page.screenshot({ path: join(directory, `${name}-${colorScheme}-${size}.png`), fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}

const result = { seen };
try {
  const context = await browser.newContext();
  await context.exposeFunction("reportViolation", (text) => seen.violations.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.reportViolation(`${event.violatedDirective}: ${event.blockedURI}`);
    });
  });
  await context.clock.install();
  const page = await open(context);
  await photograph(page, "stranger");
  await page.locator("#sign-in input[name=email]").fill("nobody@example.com");
  await page.locator("#sign-in input[name=password]").fill("not the password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#stranger .problem:not(:empty)").waitFor();
  result.wrong = await page.locator("#stranger .problem").innerText();

  await page.getByRole("button", { name: "Make up an account" }).click();
  const email = await page.locator("#sign-in input[name=email]").inputValue();
  await page.getByRole("button", { name: "Register" }).click();
  await page.locator("#who", { hasText: "@" }).waitFor();
  result.account = [email, await page.locator("#who").innerText()];
  const claims = async () => JSON.parse(await page.locator("#token").innerText());
  const first = await claims();
  result.left = [await page.locator("#left").innerText()];
  await context.clock.fastForward("05:00");
  await page.waitForFunction(() => document.querySelector("#left").textContent.startsWith("9:")
    || document.querySelector("#left").textContent.startsWith("10:"));
  result.left.push(await page.locator("#left").innerText());
  await page.getByRole("button", { name: "Refresh now" }).click();
  await page.waitForFunction((jti) => !document.querySelector("#token").textContent.includes(jti), first.jti);
  const second = await claims();
  result.refreshed = first.sid === second.sid && first.jti !== second.jti;

  await page.getByRole("button", { name: "Call it" }).click();
  await page.locator("#answer", { hasText: email }).waitFor();
  result.answer = await page.locator("#answer").innerText();
  await page.locator("#theft").getByRole("button").click();
  await page.locator("#story li").nth(5).waitFor();
  result.story = await page.locator("#story li").allInnerTexts();
  await page.locator("#sessions li").first().waitFor();
  result.sessions = await page.locator("#sessions li").count();
  await photograph(page, "home");

  // The second visit: the page comes from the browser's cache, confirmed by a 304.
  const other = await open(context);
  await other.locator("#who", { hasText: "@" }).waitFor();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await other.locator("#stranger").waitFor();
  result.signedOut = await page.locator("#stranger").isVisible();
} finally {
  await browser.close();
}
console.log(JSON.stringify(result));
