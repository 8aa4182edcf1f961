"""What programs see of the host: `tools`, and the module `cloche`.

In async code `tools.name(…)` gives something to await, so that calls overlap; elsewhere it gives
the value.
"""

import builtins
import sys
import time
import types
from asyncio import events
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE

from _cloche import host

_ASYNC = CO_ASYNC_GENERATOR | CO_COROUTINE
_TRANSPARENT = {"<genexpr>", "<lambda>", "<listcomp>"}


def _wants_await(frame):
    """Whether a call from this frame is made by async code that can await the answer."""
    if events._get_running_loop() is None:
        return False
    while frame is not None and frame.f_code.co_name in _TRANSPARENT:
        frame = frame.f_back
        # A generator that `gather` consumes is called from asyncio; its program's frame is above.
        while frame is not None and "/asyncio/" in frame.f_code.co_filename:
            frame = frame.f_back
    return frame is not None and bool(frame.f_code.co_flags & _ASYNC)


def _arguments(args, kwargs):
    if args and kwargs:
        raise TypeError("a tool takes one object, positional arguments, or keyword arguments")
    if kwargs:
        return kwargs
    if len(args) == 1 and isinstance(args[0], dict):
        return args[0]
    return list(args) if args else {}


class Tool:
    """A function of the host, by name."""

    __slots__ = ("_name",)

    def __init__(self, name):
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Tool(f"{self._name}.{name}")

    def __setattr__(self, name, value):
        raise AttributeError("tools are read-only")

    def __call__(self, /, *args, **kwargs):
        arguments = _arguments(args, kwargs)
        if _wants_await(sys._getframe(1)):
            future = events._get_running_loop().create_future()
            return host.submit("tool", self._name, arguments, future)
        return host.effect("tool", self._name, arguments)

    def __repr__(self):
        return f"<tool {self._name}>"


class Tools:
    """The functions that the host offers: `tools.name(…)`."""

    __slots__ = ()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Tool(name)

    def __getitem__(self, name):
        return Tool(str(name))

    def __setattr__(self, name, value):
        raise AttributeError("tools are read-only")

    def __repr__(self):
        return "<tools>"


tools = Tools()


def _durable(target, arguments, frame):
    if _wants_await(frame):
        future = events._get_running_loop().create_future()
        return host.submit("durable", target, arguments, future)
    return host.effect("durable", target, arguments)


def sleep(seconds):
    """Wait in real time, for days if need be: meanwhile nothing of the program is alive.

    In async code the answer is to be awaited.
    """
    until_ns = time.time_ns() + int(seconds * 1_000_000_000)
    waiting = _durable("sleep", {"until_ns": until_ns}, sys._getframe(1))
    if waiting is not None:
        return _slept(waiting, until_ns)
    _catch_up(until_ns)


async def _slept(waiting, until_ns):
    await waiting
    _catch_up(until_ns)


def _catch_up(until_ns):
    # The program's own clock moves on too; that costs nothing.
    time.sleep(max(0, until_ns - time.time_ns()) / 1_000_000_000)


def idempotency_key():
    """Return a key that is the same when this program is executed again after a crash."""
    return host.effect("durable", "idempotency_key", {})


class promise:
    """Values that somebody gives later, once, from inside or outside."""

    @staticmethod
    def create():
        """Return the id of a new promise."""
        return host.effect("durable", "promise.create", {})

    @staticmethod
    def complete(id, value=None):
        """Give a promise its value; False if it has one already."""
        return host.effect("durable", "promise.complete", {"id": id, "value": value})

    @staticmethod
    def get(id):
        """Return the value, however long it takes; in async code the answer is to be awaited."""
        return _durable("promise.get", {"id": id}, sys._getframe(1))

    @staticmethod
    def poll(id):
        """Return {"value": value}, or None while there is none."""
        return host.effect("durable", "promise.poll", {"id": id})


module = types.ModuleType("cloche", "What the host offers to a program.")
module.sleep = sleep
module.promise = promise
module.idempotency_key = idempotency_key
module.EffectError = host.EffectError
module.tools = tools
sys.modules["cloche"] = module
builtins.tools = tools
