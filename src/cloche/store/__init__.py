"""The store: where sessions, runs, journals, snapshots, blobs, promises and approvals are kept.

`ports` says what a store does, `rows` what it holds, `open.open_store` opens one.
"""
