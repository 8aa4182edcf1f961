"""The control API: an application on `cloche.web` that runs programs for many tenants.

Owns keys, tenants, the queue, and what each route means. The pure modules decide; `adapters` keep
keys and run threads; `runs`, `sessions`, `api` and `serve` wire them.
It knows nothing of sockets: any adapter of `cloche.web` can carry the application.
"""
