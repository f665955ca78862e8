// axe-core on the pages /demo and /docs: ORIGIN BROWSER DIRECTORY. Prints the violations by page, and where
// the focus is after a sign-in and a sign-out; screenshots go to the directory.
import { createRequire } from "node:module";
import { join } from "node:path";
import { launch } from "./browser.mjs";

const [origin, executablePath, directory] = process.argv.slice(2);
const { source } = createRequire(new URL("../clients/package.json", import.meta.url))("axe-core");
const browser = await launch(executablePath);
const result = { violations: [], wide: [], focus: [] };

async function check(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 900 });
      const label = `${name}-${colorScheme}-${width}`;
      const [violations, wide] = await page.evaluate(async () => {
        // Colours fade from one scheme into the other.
        await Promise.allSettled(document.getAnimations().map(({ finished }) => finished));
        const found = await window.axe.run(document, { resultTypes: ["violations"] });
        const clipped = [...document.querySelectorAll("#requests td")].filter(
          (cell) => cell.getBoundingClientRect().right > document.documentElement.clientWidth);
        return [
          found.violations.map(({ id, nodes }) => `${id} ${nodes.length}x: ${nodes.slice(0, 4).map((n) => `${n.target} ${n.any[0]?.message ?? ""}`).join(" | ")}`),
          clipped.length,
        ];
      });
      result.violations.push(...violations.map((text) => `${label}: ${text}`));
      if (wide) result.wide.push(label);
      await page.screenshot({ path: join(directory, `${label}.png`), fullPage: name !== "docs" });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function open(path) {
  const page = await browser.newPage();
  await page.goto(origin + path);
  await page.evaluate(source);
  return page;
}

const focused = (page) => page.evaluate(() => document.activeElement.tagName);

try {
  const demo = await open("/demo");
  await demo.locator("#stranger").waitFor();
  await check(demo, "demo-stranger");
  await demo.locator("#sign-in input[name=email]").fill("nobody@example.com");
  await demo.locator("#sign-in input[name=password]").fill("not the password");
  await demo.getByRole("button", { name: "Sign in" }).click();
  await demo.locator("#stranger .problem:not(:empty)").waitFor();
  await demo.getByRole("button", { name: "Make up an account" }).click();
  result.madeUp = [
    await demo.locator("#made-up").innerText(), await demo.locator("#stranger .problem").textContent(),
  ];
  await demo.getByRole("button", { name: "Register" }).click();
  await demo.locator("#who", { hasText: "@" }).waitFor();
  result.focus.push(await focused(demo));
  await demo.getByRole("button", { name: "Call it" }).click();
  await demo.locator("#answer", { hasText: "200" }).waitFor();
  await demo.locator("#theft").getByRole("button").click();
  await demo.locator("#story li").nth(5).waitFor();
  await check(demo, "demo-home");
  result.live = await demo.evaluate(() => ["#left", "#story", "#answer"].map((selector) =>
    document.querySelector(selector).closest("output, [role=status], [aria-live=polite]") !== null));
  await demo.context().setOffline(true);
  await demo.getByRole("button", { name: "Refresh now" }).click();
  result.offline = await demo.locator(".problem", { hasText: "offline" }).innerText();
  await demo.context().setOffline(false);
  await demo.getByRole("button", { name: "Sign out", exact: true }).click();
  await demo.locator("#stranger").waitFor();
  await demo.waitForFunction(() => document.activeElement.tagName !== "BODY").catch(() => undefined);
  result.focus.push(await focused(demo));

  const docs = await open("/docs");
  await docs.locator("#operations-account-me").waitFor();
  await check(docs, "docs");
  result.mains = await docs.locator("main").count();
  result.link = await docs.locator("nav a[href='/demo']").count();
} finally {
  await browser.close();
}
console.log(JSON.stringify(result));
