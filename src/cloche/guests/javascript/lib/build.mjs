// Bundles src/ and the packages it uses into dist/lib.js. Called by build.py.

import { build } from "esbuild";
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

await build({
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  outfile: process.argv[2] ?? "dist/lib.js",
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
