"""An app that asks for effects as a guest does, over any store."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count

import pytest

from cloche.apps.storage.open import open_storage
from cloche.gate.effect import EffectRequest
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.store.open import open_store

NOW_NS = 1_700_000_000_000_000_000


class App:
    """One run of one app: `app("kv", "get", key="k")`."""

    def __init__(self, storage, app_id="shop", tenant="", run_id="run", **options):
        self.handlers = storage.handlers(app_id, tenant=tenant, **options)
        self.run_id = run_id
        self.ordinals = count()

    def __call__(self, kind, target, /, **args):
        return self.again(next(self.ordinals), kind, target, **args)

    def again(self, ordinal, kind, target, /, **args):
        """Ask for the effect at one place of the run, perhaps not for the first time."""
        request = self.request(ordinal, kind, target, args)
        return self.handlers[kind].perform(request, self.run_id)

    @staticmethod
    def request(ordinal, kind, target, args):
        """Return what a guest asks."""
        return EffectRequest(
            sequence=ordinal, task="main", ordinal=ordinal, kind=kind, target=target, args=args
        )

    def sql(self, text, *params):
        """Return the rows that a query reads."""
        return self("sql", "query", text=text, params=list(params))["rows"]

    def execute(self, text, *params):
        """Return what a statement did."""
        return self("sql", "execute", text=text, params=list(params))


class Clock:
    """A clock that goes where it is told."""

    def __init__(self):
        self.now_ns = NOW_NS

    def __call__(self):
        return self.now_ns


@contextmanager
def opened(folder, url="memory:", **limits):
    """Yield storage with these limits, in a store of its own."""
    store = open_store(url)
    found = Limits().replace({"apps": limits})
    clock = Clock()
    storage = open_storage(
        store, folder=folder / "apps", limits=found, now_ns=clock, monotonic_ns=clock
    )
    storage.clock, storage.store = clock, store
    try:
        yield storage
    finally:
        storage.close()
        store.close()


@contextmanager
def fails(code):
    """Check that an effect inside fails with a code; yields a list that gets its message."""
    messages = []
    with pytest.raises(EffectFailure) as raised:
        yield messages
    assert raised.value.error.code == code, raised.value.error
    messages.append(raised.value.error.message)
