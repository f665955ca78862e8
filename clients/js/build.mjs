// Build into dist/: the package (one module, minified, and its types) and the scripts of /demo and /auth/continue.
// A type error stops it.
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
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
const options = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
};
buildSync({
  ...options,
  entryPoints: ["src/index.ts"],
  outfile: "dist/index.js",
  minify: true,
  banner: { js: "// @authsvc/client, Apache-2.0" },
});
// npm puts a LICENSE into the package only if it lies beside package.json.
copyFileSync(join(here, "..", "..", "LICENSE"), join(here, "LICENSE"));
// What authsvc serves as pages is committed as it is built here, to be read and compared.
for (const page of ["demo", "continue"]) {
  buildSync({
    ...options,
    entryPoints: [`${page}/${page}.js`],
    outfile: `dist/${page}.js`,
    banner: { js: "// Built from clients/js; do not edit." },
  });
}
