// The library of the JavaScript guest: evaluated once, when the image is made.

import { hide, names as webNames } from "./web/globals.js";
import { answer, ask, register, specimens } from "./web/app.js";
import { Request, Response, fetch, net } from "./web/fetch.js";
import { Headers } from "./web/headers.js";
import { URL, URLSearchParams } from "./web/url.js";
import { beginRun, publish } from "./host.js";
import { Buffer } from "./node/buffer.js";
import { getModule, isBuiltin, modules, unavailable } from "./node/modules.js";
import { beginProcess, emitBeforeExit, emitExit, process } from "./node/process.js";

// These stand on packages that look for the globals above when they are loaded.
const later = { Headers, Request, Response, URL, URLSearchParams, fetch, net };
for (const [name, value] of Object.entries(later)) hide(name, value);
hide("Buffer", Buffer);
hide("process", process);

// The bundler renames what would clash (URL2, _Blob); programs read names of classes and functions.
const webGlobals = Object.fromEntries(
  [...Object.keys(later), ...webNames].map((name) => [name, globalThis[name]]),
);
for (const exports of [webGlobals, ...Object.values(modules)]) {
  // Getters are left alone: they belong to a run, and this is image time.
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(exports))) {
    if (typeof value !== "function" || value.name === name) continue;
    if (value.name.replace(/^_|\d+$/g, "") !== name) continue;
    Object.defineProperty(value, "name", { value: name, configurable: true });
  }
}

publish({
  app: { answer, ask, register },
  kept: specimens(),
  beginRun() {
    beginRun();
    beginProcess();
  },
  emitBeforeExit,
  emitExit,
  getModule,
  isBuiltin,
  modules,
  process,
  unavailable,
});
