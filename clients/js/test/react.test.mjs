// The hook that docs/single-page-apps.md shows, as it stands there, with a React that only subscribes.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { problem, serve, tokens } from "./service.mjs";

const page = readFileSync(new URL("../../../docs/single-page-apps.md", import.meta.url), "utf8");
const [, recipe] = page.match(/^```ts\n(.*?)^```$/ms);
const dist = fileURLToPath(new URL("../dist/", import.meta.url));

const HOOK = `export let hook;
export function useSyncExternalStore(subscribe, here, onServer) {
  hook = { subscribe, here, onServer };
  return here();
}`;
const TYPES = `export function useSyncExternalStore<Snapshot>(
  subscribe: (onStoreChange: () => void) => () => void, here: () => Snapshot, onServer?: () => Snapshot): Snapshot;`;

function inDirectory(act) {
  const directory = mkdtempSync(join(tmpdir(), "recipe-"));
  const write = (name, text) => (writeFileSync(join(directory, name), text), join(directory, name));
  return Promise.resolve(act(write)).finally(() => rmSync(directory, { recursive: true }));
}

test("N10: the React recipe has the types that it shows", () =>
  inDirectory((write) => {
    const check = "\nimport type { Session } from \"@authsvc/client\";\n" +
      "export const typed: () => Session | null | undefined = useSession;\n";
    write("react.d.ts", TYPES);
    write("recipe.ts", recipe + check);
    const paths = { "@authsvc/client": [join(dist, "index.d.ts")], react: ["./react.d.ts"] };
    const compilerOptions = {
      strict: true, noEmit: true, target: "ES2022", module: "ESNext", moduleResolution: "bundler",
      lib: ["ES2022", "DOM"], types: [], paths,
    };
    const config = write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["recipe.ts"] }));
    const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", config], { encoding: "utf8" });

    assert.equal(status, 0, stdout);
  }));

/** The recipe's module against a service, and what its hook gave to React. */
async function running(write, service) {
  const react = pathToFileURL(write("react.mjs", HOOK)).href;
  const { code } = transformSync(recipe, { loader: "ts" });
  const module = code
    .replace('"react"', JSON.stringify(react))
    .replace('"@authsvc/client"', JSON.stringify(pathToFileURL(join(dist, "index.js")).href))
    .replace("http://localhost:8000", service.url);
  const { auth, useSession } = await import(pathToFileURL(write("recipe.mjs", module)).href);
  useSession();
  const { hook } = await import(react);
  return { auth, useSession, hook };
}

test("N10: the React recipe says null when there is no session, though onChange is silent", () =>
  inDirectory(async (write) => {
    const service = await serve(() => ({ status: 401, body: problem("invalid_refresh_token") }));
    const { auth, useSession, hook } = await running(write, service);

    await new Promise((tell) => hook.subscribe(tell));

    assert.equal(useSession(), null);
    assert.equal(hook.onServer(), undefined); // a server does not know its visitor
    auth.close();
    service.close();
  }));

test("N10: the React recipe knows nobody until ready, then the session", () =>
  inDirectory(async (write) => {
    const service = await serve(({ path }) => (path === "/auth/logout" ? { status: 204 } : { body: tokens() }));
    const { auth, useSession, hook } = await running(write, service);
    let rendered;
    const told = new Promise((tell) => hook.subscribe(() => tell((rendered = useSession()))));

    assert.equal(useSession(), undefined);
    assert.equal(hook.onServer(), undefined);
    await told;
    assert.equal(rendered.userId, "ada");
    assert.equal(useSession(), useSession()); // the same object, or React renders for ever
    await auth.logout();
    assert.equal(useSession(), null);

    auth.close();
    service.close();
  }));
