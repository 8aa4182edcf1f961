"""The versions that are ready to answer: built once, kept in the store, found again by others.

Owns the built versions of one process. Invariants:
- a version is evaluated at most once at a time here; another process finds what was kept;
- what is kept is opened only when it was signed with this machine's key for the same files, guest
  and environment; else it is made again;
- at most `apps.image_count_max` versions are held, with files of at most `storage.max_vfs` bytes
  together; those that were asked longest ago go, the one that is asked never.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cloche.apps.errors import AppImageError
from cloche.apps.manifest import find_manifest
from cloche.apps.routing import OWN_TENANT
from cloche.store.errors import StoreChangedError, StoreUnknownError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.adapters.builder import BuiltApp
    from cloche.apps.adapters.host import AppHost
    from cloche.apps.bundle import Bundle
    from cloche.apps.manifest import Manifest
    from cloche.apps.registry import Registry
    from cloche.apps.routing import AppName
    from cloche.limits import Limits
    from cloche.store.ports import Store
    from cloche.web.app import App as WebApp

_IMAGES: Final = "apps.images."
_ENV_DIGITS: Final = 16
ENVIRONMENTS_KEPT: Final = 256  # every request asks for that of its app

Key = tuple["AppName", str, str]


class Ready:
    """A version that can answer, and its files; `site` serves those, once they were asked for."""

    __slots__ = ("built", "bundle", "files_bytes", "site")

    def __init__(self, built: BuiltApp, bundle: Bundle) -> None:
        self.built = built
        self.bundle = bundle
        self.files_bytes = sum(len(content) for _, content in bundle.files)
        self.site: WebApp | None = None

    @property
    def manifest(self) -> Manifest:
        """What it says of itself."""
        return self.built.manifest


class Versions:
    """Built versions.

    Args:
        store: where their states are kept.
        registry: where their files are.
        host: builds them.
        limits: the groups `apps` and `storage`.
        allow_net: whether apps may make outbound calls.
        key: returns what signs the states.
        now_ns: the wall clock.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        host: AppHost,
        limits: Limits,
        *,
        allow_net: bool,
        key: Callable[[], bytes],
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._registry = registry
        self._host = host
        self._limits = limits
        self._allow_net = allow_net
        self._key = key
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._ready: OrderedDict[Key, Ready] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}

    def find(self, app: AppName, version: str, env: Mapping[str, str]) -> Ready | None:
        """Return a version if it is ready here. Never blocks."""
        key = (app, version, env_digest(env))
        with self._lock:
            ready = self._ready.get(key)
            if ready is not None:
                self._ready.move_to_end(key)
            return ready

    def get(self, app: AppName, version: str, env: Mapping[str, str]) -> Ready:
        """Return a version, made ready if it is not; that may take seconds.

        Raises:
            AppVersionError: it is not kept.
            BuildError, ManifestError: it cannot be evaluated, or not with this environment.
        """
        key = (app, version, env_digest(env))
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:
                held = self.find(app, version, env)
                return self._new(key, env) if held is None else held
        finally:
            with self._lock:
                self._making.pop(key, None)

    def _new(self, key: Key, env: Mapping[str, str]) -> Ready:
        app, version, _ = key
        bundle = self._registry.bundle(app, version)
        found = find_manifest(bundle, self._limits, name=app.name)
        own = "" if app.tenant == OWN_TENANT else app.tenant
        manifest = found.for_tenant(own, allow_net=self._allow_net)
        ready = Ready(self._made(app, bundle, manifest, env), bundle)
        self._hold(key, ready)
        return ready

    def _made(
        self, app: AppName, bundle: Bundle, manifest: Manifest, env: Mapping[str, str]
    ) -> BuiltApp:
        kind, name = f"{_IMAGES}{app}", f"{bundle.digest}.{env_digest(env)}"
        kept = self._store.documents.get(kind, name)
        if kept is not None:
            try:
                content = self._store.blobs.get(kept.data.decode())
                return self._host.restore(bundle, manifest, env, content, self._key())
            except (AppImageError, StoreUnknownError):
                # Of another guest or another machine's key: made again, and kept instead.
                pass
        built = self._host.build(bundle, manifest, env)
        content = built.keep(self._key())
        if content:
            self._keep(kind, name, content, 1 if kept is None else kept.revision + 1)
        return built

    def _keep(self, kind: str, name: str, content: bytes, revision: int) -> None:
        sha256 = self._store.blobs.put(content, now_ns=self._now_ns()).sha256
        holder = f"{kind} {name}"
        self._store.blobs.unpin(holder)
        self._store.blobs.pin(holder, sha256)
        document = Document(kind=kind, name=name, data=sha256.encode(), revision=revision)
        try:
            self._store.documents.put(document)
        except StoreChangedError:
            return  # another process has kept its own, which is as good

    def _hold(self, key: Key, ready: Ready) -> None:
        gone = []
        with self._lock:
            self._ready[key] = ready
            total = sum(each.files_bytes for each in self._ready.values())
            while len(self._ready) > 1 and (
                len(self._ready) > self._limits.apps.image_count_max
                or total > self._limits.storage.max_vfs
            ):
                oldest = self._ready.popitem(last=False)[1]
                total -= oldest.files_bytes
                gone.append(oldest)
        for old in gone:
            self._host.release(old.built)

    def forget(self, app: AppName) -> None:
        """Drop what is held and kept of an app that was removed."""
        with self._lock:
            gone = [self._ready.pop(key) for key in list(self._ready) if key[0] == app]
        for old in gone:
            self._host.release(old.built)
        kind = f"{_IMAGES}{app}"
        while kept := self._store.documents.list(kind):
            for each in kept:
                self._store.blobs.unpin(f"{kind} {each.name}")
                self._store.documents.remove(kind, each.name)


def env_digest(env: Mapping[str, str]) -> str:
    """Return what stands for an environment."""
    return _digest_of(tuple(sorted(env.items())))


@lru_cache(maxsize=ENVIRONMENTS_KEPT)
def _digest_of(values: tuple[tuple[str, str], ...]) -> str:
    text = json.dumps(dict(values)).encode()
    return hashlib.sha256(text).hexdigest()[:_ENV_DIGITS]
