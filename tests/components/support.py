"""A host of `exec-python.wasm`: wasmtime's component model, called as the WIT says."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager

from platformdirs import user_cache_path
from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

from cloche.components.build import python_inputs

INTERFACE = "golem:exec/executor@1.0.0"
CACHE = user_cache_path("cloche-tests") / "components"


def built():
    """Return the component, built once for the sources as they are, by one process of the tests."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with CACHE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _built()


def _built():
    path = CACHE / python_inputs()[:32] / "exec-python.wasm"
    if not path.exists():
        shutil.rmtree(CACHE, ignore_errors=True)  # what older sources made
        path.parent.mkdir(parents=True)
        command = [sys.executable, "-c", "from cloche.cli import main; main()", "components"]
        command += ["build", "--out", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=500)
        data = path.read_bytes()
        assert json.loads(done.stdout)["component"] == {
            "path": str(path),
            "size_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    return path


def load(path):
    """Return the component, compiled; unoptimised code is ready in a tenth of the time."""
    config = Config()
    config.cranelift_opt_level = "none"
    config.epoch_interruption = True
    engine = Engine(config)
    return engine, Component.from_file(engine, path)


def record(**fields):
    """Return a record of the WIT; underscores stand for dashes."""
    made = Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


def language(kind="python", version=None):
    """Return a `language`."""
    return record(kind=kind, version=version)


def file(name, content, encoding=None):
    """Return a `file`."""
    data = content.encode() if isinstance(content, str) else content
    return record(name=name, content=data, encoding=encoding)


def limits(**given):
    """Return `limits` with the given ones."""
    names = ("time_ms", "memory_bytes", "file_size_bytes", "max_processes")
    return record(**{name: given.get(name) for name in names})


def options(**given):
    """Return `run-options` with the given ones."""
    return record(**{name: given.get(name) for name in ("stdin", "args", "env", "limits")})


def failure(value):
    """Return the name and the payload of an `error`."""
    assert isinstance(value, Variant), plain(value)
    return value.tag, value.payload


def plain(value):
    """Return a value of the WIT as dicts, tuples and lists, for comparing and for messages."""
    if isinstance(value, Variant):
        return value.tag, plain(value.payload)
    if isinstance(value, Record):
        return {name: plain(item) for name, item in vars(value).items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


class Host:
    """One instance of the component, without files of its host unless `folder` is given."""

    def __init__(self, engine, component, folder=None, memory_bytes=-1):
        self._engine = engine
        self._store = Store(engine)
        self._store.set_epoch_deadline(10**9)
        self._store.set_limits(memory_size=memory_bytes)
        wasi = WasiConfig()
        if folder is not None:
            wasi.preopen_dir(str(folder), "/")
        self._store.set_wasi(wasi)
        linker = Linker(engine)
        linker.add_wasip2()
        self._instance = linker.instantiate(self._store, component)
        self._interface = self._instance.get_export_index(self._store, INTERFACE)

    @contextmanager
    def time_limit(self, seconds):
        """Stop calls that are not done in this time, as a host with a limit would."""
        self._store.set_epoch_deadline(1)
        timer = threading.Timer(seconds, self._engine.increment_epoch)
        timer.start()
        yield
        timer.cancel()

    def call(self, name, *arguments):
        """Call a function of the interface."""
        index = self._instance.get_export_index(self._store, name, self._interface)
        function = self._instance.get_func(self._store, index)
        result = function(self._store, *arguments)
        function.post_return(self._store)
        return result

    def run(self, snippet, *modules, kind="python", **given):
        """Call `run`."""
        return self.call("run", language(kind), list(modules), snippet, options(**given))

    def stream(self, snippet, *modules):
        """Call `run-streaming` and pull all of its events, as plain values."""
        stream = self.call("run-streaming", language(), list(modules), snippet, options())
        return self.drain(stream)

    def drain(self, stream):
        """Pull the events of an `exec-stream` by both of its methods, then drop it."""
        events = []
        while (event := self.call("[method]exec-stream.blocking-get-next", stream)) is not None:
            events.append(plain(event))
        assert self.call("[method]exec-stream.get-next", stream) is None
        stream.drop(self._store)
        return events

    @contextmanager
    def session(self, *modules, kind="python"):
        """Make a `session` for a while."""
        resource = self.call("[constructor]session", language(kind), list(modules))
        yield Session(self, resource)
        resource.drop(self._store)


class Session:
    """A `session` of the WIT."""

    def __init__(self, host, resource):
        self._host, self._resource = host, resource

    def call(self, method, *arguments):
        """Call a method of the resource."""
        return self._host.call(f"[method]session.{method}", self._resource, *arguments)

    def run(self, snippet, **given):
        """Call `run`."""
        return self.call("run", snippet, options(**given))

    def output(self, snippet, **given):
        """Call `run`, which has to succeed, and return what it wrote."""
        result = self.run(snippet, **given)
        assert isinstance(result, Record), plain(result)
        return result.run.stdout
