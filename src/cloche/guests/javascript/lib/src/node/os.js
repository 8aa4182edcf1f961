// node:os: a machine that is the same everywhere, so that runs are the same everywhere.

import { numbers } from "./errno.js";
import { uptimeSeconds } from "../host.js";

const signals = Object.freeze({
  SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGILL: 4, SIGTRAP: 5, SIGABRT: 6, SIGBUS: 7, SIGFPE: 8,
  SIGKILL: 9, SIGUSR1: 10, SIGSEGV: 11, SIGUSR2: 12, SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15,
});
const MEMORY_BYTES = 256 * 1024 * 1024;
const environment = () => globalThis.process?.env ?? {};

export default {
  EOL: "\n",
  devNull: "/dev/null",
  constants: { signals, errno: numbers, priority: { PRIORITY_NORMAL: 0 }, dlopen: {} },
  arch: () => "wasm32",
  availableParallelism: () => 1,
  cpus: () => [{
    model: "wasm32", speed: 0, times: { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 },
  }],
  endianness: () => "LE",
  freemem: () => MEMORY_BYTES,
  getPriority: () => 0,
  homedir: () => environment().HOME ?? "/",
  hostname: () => "sandbox",
  loadavg: () => [0, 0, 0],
  machine: () => "wasm32",
  networkInterfaces: () => ({}),
  platform: () => "wasi",
  release: () => "0.0.0",
  tmpdir: () => (environment().TMPDIR ?? "/tmp").replace(/(.)\/$/, "$1"),
  totalmem: () => MEMORY_BYTES,
  type: () => "WASI",
  uptime: () => uptimeSeconds(),
  userInfo: () => ({ uid: 0, gid: 0, username: "user", homedir: "/", shell: null }),
  version: () => "cloche",
};
