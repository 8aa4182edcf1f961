// Bundles src/ and the packages it uses into dist/lib.js, and their licences into
// dist/lib.licenses.txt. Called by build.py with the paths of both.

import { build } from "esbuild";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

const here = dirname(fileURLToPath(import.meta.url));
const source = (name) => join(here, "src", name);

// Inside packages these names mean what we have already; see docs/decisions.
const REPLACED = {
  "@exodus/bytes/encoding.js": "vendor/empty.js",
  "@exodus/bytes/whatwg.js": "vendor/exodus_whatwg.js",
  "abort-controller": "vendor/empty.js",
  buffer: "node/buffer.js",
  events: "node/events.js",
  "process/": "vendor/process.js",
  "safe-buffer": "node/buffer.js",
  tr46: "vendor/tr46.js",
};

const replace = {
  name: "replace",
  setup(builder) {
    builder.onResolve({ filter: /^[@a-z]/ }, ({ path, importer }) => {
      const target = importer.includes("node_modules") ? REPLACED[path] : undefined;
      return target ? { path: source(target) } : undefined;
    });
  },
};

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  outfile: process.argv[2],
  metafile: true,
  bundle: true,
  format: "iife",
  platform: "neutral",
  mainFields: ["module", "main"],
  target: "es2023",
  charset: "utf8",
  legalComments: "none",
  minifySyntax: true,
  minifyWhitespace: true,
  plugins: [replace],
  logLevel: "warning",
});

// Licences ask that their text goes with the code, and the bundle has no room for comments.
const PACKAGE = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//;
const used = Object.values(metafile.outputs)
  .flatMap(({ inputs }) => Object.entries(inputs))
  .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  .map(([path]) => PACKAGE.exec(path)?.[1])
  .filter(Boolean);

const notices = [...new Set(used)].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`the package ${name} has no licence file`);
  const text = readFileSync(join(folder, file), "utf8").trim();
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(process.argv[3], notices.join(`\n${"-".repeat(72)}\n\n`));
