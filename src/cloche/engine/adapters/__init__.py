"""The engine's touch with the world: wasmtime, the cache folder, threads."""
