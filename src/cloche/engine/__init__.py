"""The engine: images, instances, turns, the virtual OS, snapshots.

The only room that uses wasmtime.

Pure modules decide (`abi`, `vfs`, `descriptors`, `virtual_os`, `snapshot`); `adapters/` drive
WebAssembly, threads and the cache folder.
"""
