"""What an app keeps: `kv`, `docs`, `blobs`, `sql`, `jobs`. docs/app-storage.md has all calls.

In async code a call gives something to await, elsewhere its value. Each method is written once, as
steps: it yields the effects that it needs and gets their values.

Left for app.py: `names` (name -> facade) and `job`, which makes the argument of a handler of jobs.
"""

import base64
import functools
import json
import sys
from asyncio import events

from _cloche import host, tools

CHUNK_BYTES = 512 * 1024  # what the host takes of a blob at once


def _call(method):
    """Let a generator of effects be called from async code and from any other."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        steps = method(self, *args, **kwargs)
        if tools.wants_await(sys._getframe(1)):
            return _go_async(steps)
        return _go(steps)

    return call


def _go(steps):
    value, failure = None, None
    while True:
        try:
            effect = steps.throw(failure) if failure else steps.send(value)
        except StopIteration as stop:
            return stop.value
        value, failure = None, None
        try:
            value = host.effect(*effect)
        except host.EffectError as error:
            failure = error


async def _go_async(steps):
    value, failure = None, None
    while True:
        try:
            effect = steps.throw(failure) if failure else steps.send(value)
        except StopIteration as stop:
            return stop.value
        value, failure = None, None
        try:
            value = await host.submit(*effect, events._get_running_loop().create_future())
        except host.EffectError as error:
            failure = error


def _given(**options):
    """Leave out what is None: the host has its own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _b64(data):
    return {"b64": base64.b64encode(data).decode()}


class KV:
    """Values by key."""

    @_call
    def get(self, key, default=None):
        """Return the value of a key."""
        found = yield "kv", "entry", {"key": key}
        return default if found is None else found["value"]

    @_call
    def entry(self, key):
        """Return key, value, version and expires_at_ms, or None."""
        return (yield "kv", "entry", {"key": key})

    @_call
    def set(self, key, value, ttl_ms=None):
        """Set a key; return the version of what is there now."""
        return (yield "kv", "set", {"key": key, "value": value, **_given(ttl_ms=ttl_ms)})

    @_call
    def cas(self, key, expected_version, value, ttl_ms=None):
        """Set a key that has this version (0: is not there); return the new one, else None."""
        args = {"key": key, "value": value, "expected_version": expected_version}
        return (yield "kv", "cas", {**args, **_given(ttl_ms=ttl_ms)})

    @_call
    def delete(self, key):
        """Remove a key; return whether it was there."""
        return (yield "kv", "delete", {"key": key})

    @_call
    def list(self, prefix="", after="", limit=100):
        """Return entries in the order of their keys."""
        return (yield "kv", "list", {"prefix": prefix, "after": after, "limit": limit})


class Docs:
    """JSON objects in collections."""

    @_call
    def insert(self, collection, doc):
        """Add a document; return its id."""
        return (yield "docs", "insert", {"collection": collection, "doc": doc})

    @_call
    def get(self, collection, id):
        """Return a document, or None."""
        return (yield "docs", "get", {"collection": collection, "id": id})

    @_call
    def find(self, collection, query=None, limit=100, offset=0, order=()):
        """Return the documents that match, as a list."""
        args = {"collection": collection, "query": {} if query is None else query}
        args |= {"limit": limit, "offset": offset}
        args["order"] = order if isinstance(order, str) else [*order]
        return (yield "docs", "find", args)

    @_call
    def find_one(self, collection, query=None, order=()):
        """Return the first document that matches, or None."""
        args = {"collection": collection, "query": {} if query is None else query}
        args["order"] = order if isinstance(order, str) else [*order]
        return (yield "docs", "find_one", args)

    @_call
    def update(self, collection, query, changes):
        """Change the documents that match; return how many."""
        args = {"collection": collection, "query": query, "changes": changes}
        return (yield "docs", "update", args)

    @_call
    def delete(self, collection, query):
        """Remove the documents that match; return how many."""
        return (yield "docs", "delete", {"collection": collection, "query": query})

    @_call
    def count(self, collection, query=None):
        """Return how many documents match."""
        query = {} if query is None else query
        return (yield "docs", "count", {"collection": collection, "query": query})

    @_call
    def index(self, collection, field):
        """Make an index on a field, unless there is one."""
        return (yield "docs", "index", {"collection": collection, "field": field})


class Blob:
    """What is at a path: `path`, `size`, `mime`, `hash`, `updated_at_ms`, and its `bytes`."""

    def __init__(self, head, data):
        self.path, self.size, self.mime = head["path"], head["size"], head["mime"]
        self.hash, self.updated_at_ms = head["hash"], head["updated_at_ms"]
        self.bytes = data

    def text(self):
        return self.bytes.decode(errors="replace")

    def json(self):
        return json.loads(self.bytes)

    def __repr__(self):
        return f"<Blob {self.path} {self.mime} {self.size}>"


class Blobs:
    """Contents by path."""

    @_call
    def put(self, path, data, mime=None):
        """Keep text, bytes, a file, or an iterable of texts and bytes; return its head."""
        options = _given(mime=mime)
        if isinstance(data, str):
            data = data.encode()
        if hasattr(data, "__aiter__"):
            raise TypeError("a blob is text, bytes, a file or an iterable, not an async one")
        if isinstance(data, (bytes, bytearray, memoryview)):
            if len(data) <= CHUNK_BYTES:
                return (yield "blobs", "put", {"path": path, "data": _b64(data), **options})
            data = [data]
        upload = (yield "blobs", "begin", {"path": path})["upload"]
        for ordinal, piece in enumerate(_pieces(data)):
            args = {"upload": upload, "ordinal": ordinal, "data": _b64(piece)}
            yield "blobs", "write", args
        return (yield "blobs", "finish", {"upload": upload, "path": path, **options})

    @_call
    def get(self, path):
        """Return a Blob, or None."""
        head = yield "blobs", "read", {"path": path}
        if head is None:
            return None
        data = bytearray(base64.b64decode(head["b64"]))
        while len(data) < head["size"]:
            args = {"path": path, "offset": len(data), "hash": head["hash"]}
            data += base64.b64decode((yield "blobs", "read", args)["b64"])
        return Blob(head, bytes(data))

    def stream(self, path):
        """Yield the content in pieces, read as they are taken; nothing when nothing is there."""
        head = host.effect("blobs", "head", {"path": path})
        at = 0
        while head is not None and at < head["size"]:
            args = {"path": path, "offset": at, "hash": head["hash"]}
            piece = base64.b64decode(host.effect("blobs", "read", args)["b64"])
            at += len(piece)
            yield piece

    @_call
    def head(self, path):
        """Return path, size, mime, hash and updated_at_ms, or None."""
        return (yield "blobs", "head", {"path": path})

    @_call
    def delete(self, path):
        """Remove what is at a path; return whether something was."""
        return (yield "blobs", "delete", {"path": path})

    @_call
    def list(self, prefix="", after="", limit=100):
        """Return heads in the order of their paths."""
        return (yield "blobs", "list", {"prefix": prefix, "after": after, "limit": limit})


def _pieces(data):
    if hasattr(data, "read"):
        source = data
        data = iter(lambda: source.read(CHUNK_BYTES), type(source.read(0))())
    for piece in data:
        view = memoryview(piece.encode() if isinstance(piece, str) else piece)
        for at in range(0, len(view), CHUNK_BYTES):
            yield view[at : at + CHUNK_BYTES]


class SQL:
    """A SQLite database of the app's own."""

    @_call
    def query(self, text, params=()):
        """Return rows as dictionaries."""
        return _rows((yield "sql", "query", _statement(text, params)))

    @_call
    def execute(self, text, params=()):
        """Return changes, last_id and rows."""
        return _done((yield "sql", "execute", _statement(text, params)))

    @_call
    def batch(self, statements):
        """Execute statements, each a text or (text, params), in one transaction."""
        parts = [(one, ()) if isinstance(one, str) else one for one in statements]
        args = {"statements": [_statement(text, params) for text, params in parts]}
        return [_done(done) for done in (yield "sql", "batch", args)]


def _statement(text, params):
    if isinstance(params, dict):
        values = {name: _to_sql(value) for name, value in params.items()}
    else:
        values = [_to_sql(value) for value in params]
    return {"text": text, "params": values}


def _to_sql(value):
    return _b64(value) if isinstance(value, (bytes, bytearray, memoryview)) else value


def _from_sql(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _rows(found):
    columns = found["columns"]
    return [dict(zip(columns, map(_from_sql, row), strict=True)) for row in found["rows"]]


def _done(done):
    return {"changes": done["changes"], "last_id": done["last_id"], "rows": _rows(done)}


class Jobs:
    """Work to be done later."""

    @_call
    def spawn(
        self,
        name,
        data=None,
        *,
        delay_ms=None,
        retry=None,
        backoff_ms=None,
        unique_key=None,
        priority=None,
        timeout_ms=None,
    ):
        """Make a job; return its id."""
        options = _given(
            delay_ms=delay_ms,
            retry=retry,
            backoff_ms=backoff_ms,
            unique_key=unique_key,
            priority=priority,
            timeout_ms=timeout_ms,
        )
        return (yield "jobs", "spawn", {"name": name, "data": data, **options})

    @_call
    def get(self, id):
        """Return a job, or None."""
        return (yield "jobs", "get", {"id": id})

    @_call
    def list(self, state=None, before="", limit=50):
        """Return jobs, newest first."""
        return (yield "jobs", "list", {"before": before, "limit": limit, **_given(state=state)})

    @_call
    def cancel(self, id):
        """Ask a job to stop; return whether it had not ended."""
        return (yield "jobs", "cancel", {"id": id})


class Job:
    """A running job: `id`, `name`, `data`, `attempt` and the rest of what the host says of it."""

    def __init__(self, document):
        self.__dict__.update(document)

    @_call
    def progress(self, value):
        """Say how far it is, 0 to 100."""
        return (yield "jobs", "progress", {"value": value})

    @_call
    def checkpoint(self, value):
        """Keep a value for the next attempt."""
        return (yield "jobs", "checkpoint", {"value": value})

    @_call
    def last_checkpoint(self):
        """Return what was kept last, or None."""
        return (yield "jobs", "last_checkpoint", {})

    @_call
    def cancelled(self):
        """Return whether it was asked to stop."""
        return (yield "jobs", "cancelled", {})

    def __repr__(self):
        return f"<Job {self.id} {self.name}>"


names = {"kv": KV(), "docs": Docs(), "blobs": Blobs(), "sql": SQL(), "jobs": Jobs()}
job = Job
