// Build the package into dist/: one module, minified, and its types. A type error stops it.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const typescript = createRequire(import.meta.url).resolve("typescript/package.json");

rmSync(join(here, "dist"), { recursive: true, force: true });
const tsc = [join(dirname(typescript), "bin", "tsc"), "-p", here];
const { status } = spawnSync(process.execPath, tsc, { stdio: "inherit" });
if (status !== 0) process.exit(1);
buildSync({
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  outfile: "dist/index.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "// @authsvc/client, Apache-2.0" },
  logLevel: "warning",
});
