// node:async_hooks: AsyncLocalStorage for synchronous scopes.
//
// The engine gives no hook into promises: a store is seen inside `run` until its callback returns,
// and not after an `await` in it. AsyncResource.bind keeps a function's stores.

import { requireFunction } from "./errors.js";

let current = new Map();

const within = (stores, callback, args, self) => {
  const before = current;
  current = stores;
  try {
    return Reflect.apply(callback, self, args);
  } finally {
    current = before;
  }
};

export class AsyncLocalStorage {
  run(store, callback, ...args) {
    return within(new Map(current).set(this, store), callback, args);
  }
  exit(callback, ...args) {
    const stores = new Map(current);
    stores.delete(this);
    return within(stores, callback, args);
  }
  getStore() { return current.get(this); }
  enterWith(store) { current = new Map(current).set(this, store); }
  disable() {
    current = new Map(current);
    current.delete(this);
  }
  static bind(callback) { return AsyncResource.bind(callback); }
  static snapshot() {
    return AsyncResource.bind((callback, ...args) => callback(...args));
  }
}

export class AsyncResource {
  #stores = current;
  constructor(type) { this.type = String(type); }
  runInAsyncScope(callback, self, ...args) { return within(this.#stores, callback, args, self); }
  bind(callback) { return (...args) => this.runInAsyncScope(callback, undefined, ...args); }
  emitDestroy() { return this; }
  asyncId() { return 1; }
  triggerAsyncId() { return 0; }
  static bind(callback) {
    requireFunction(callback, "fn");
    return new AsyncResource(callback.name || "bound-anonymous-fn").bind(callback);
  }
}

export default {
  AsyncLocalStorage, AsyncResource, executionAsyncId: () => 1, triggerAsyncId: () => 0,
};
