"""What programs see of the host: `tools`, and the module `cloche`.

In async code `tools.name(…)` gives something to await, so that calls overlap; elsewhere it gives
the value.
"""

import builtins
import sys
import types
from asyncio import events
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE

from _cloche import host

_ASYNC = CO_ASYNC_GENERATOR | CO_COROUTINE
_TRANSPARENT = {"<genexpr>", "<lambda>", "<listcomp>"}


def wants_await(frame):
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
        _set_name(self, name)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Tool(f"{self._name}.{name}")

    def __setattr__(self, name, value):
        raise AttributeError("tools are read-only")

    def __call__(self, /, *args, **kwargs):
        arguments = _arguments(args, kwargs)
        if wants_await(sys._getframe(1)):
            future = events._get_running_loop().create_future()
            return host.submit("tool", self._name, arguments, future)
        return host.effect("tool", self._name, arguments)

    def __repr__(self):
        return f"<tool {self._name}>"


_set_name = Tool._name.__set__  # `__setattr__` refuses


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


module = types.ModuleType("cloche", "What the host offers to a program.")
module.EffectError = host.EffectError
module.tools = tools
sys.modules["cloche"] = module
builtins.tools = tools
