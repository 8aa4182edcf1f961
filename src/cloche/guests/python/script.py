"""Scripts of a model's message: what they find, how they run, and what is left when they end.

Owns the facade over the tools, the frozen context, and the calls that nobody waited for. The sandbox
is the wall; what is read-only here keeps programs from surprising themselves.
"""

import ast
import asyncio
import inspect
import linecache
import math
import re
import sys
import time

from _cloche import host, output
from _cloche.loop import tell_unheard
from _cloche.tools import Tool, Tools, _arguments, wants_await

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_HUMP = re.compile(r"_(\w)")
_DEPTH_MAX = 200  # of values that cross; the host refuses what is deeper than it allows

_calls = {}  # future -> (path, number), until it is settled
_requests = 0


def _counted(send):
    def counted(op, document):
        global _requests
        if op in (host.EFFECT, host.SUBMIT):
            _requests += 1
        return send(op, document)

    return counted


def _misfit(value, path="$", above=()):
    """Return where a value cannot cross whole, and why; None if it can."""
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else {"path": path, "problem": f"is {value}"}
    if not isinstance(value, (dict, list, tuple)):
        return {"path": path, "problem": f"is a {type(value).__name__}"}
    if any(one is value for one in above):
        return {"path": path, "problem": "holds itself"}
    if len(above) >= _DEPTH_MAX:
        return {"path": path, "problem": "is nested too deep"}
    above = (*above, value)
    if not isinstance(value, dict):
        inner = ((f"{path}[{index}]", one) for index, one in enumerate(value))
    else:
        for key in value:
            if not isinstance(key, str):
                return {"path": path, "problem": f"has a key that is no text: {key!r}"[:200]}
        inner = ((f"{path}.{key}", one) for key, one in value.items())
    for place, one in inner:
        if not isinstance(one, str) and (found := _misfit(one, place, above)):
            return found
    return None


def _submit(path, arguments):
    future = asyncio.get_running_loop().create_future()
    _calls[future] = (path, _requests)
    future.add_done_callback(_settled)
    return host.submit("tool", path, arguments, future)


def _settled(future):
    _path, number = _calls.pop(future)
    if future.cancelled():
        host.effect("tool", "$abort", {"number": number})


class ScriptTool(Tool):
    """A tool, or the tools below a name; what the host does not know is asked for all the same."""

    __slots__ = ("_known",)

    def __init__(self, name, known):
        super().__init__(name)
        object.__setattr__(self, "_known", known)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return ScriptTool(f"{self._name}.{name}", self._known.get(name, {}))

    def __dir__(self):
        return sorted(self._known)

    def __call__(self, /, *args, **kwargs):
        arguments = _arguments(args, kwargs)
        if unfit := _misfit(arguments):
            host.effect("tool", "$refuse", {"tool": self._name, **unfit})
        if wants_await(sys._getframe(1)):
            return _submit(self._name, arguments)
        return host.effect("tool", self._name, arguments)


class ScriptTools(Tools):
    """The tools of a script; `dir(tools)` and `for name in tools` list them."""

    __slots__ = ("_known",)

    def __init__(self, known):
        object.__setattr__(self, "_known", known)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return ScriptTool(name, self._known.get(name, {}))

    def __getitem__(self, name):
        return ScriptTool(str(name), {})

    def __dir__(self):
        return sorted(self._known)

    def __iter__(self):
        return iter(dir(self))

    def __contains__(self, name):
        return name in self._known


class Frozen:
    """Data that cannot be changed, by attribute or by key; `a_name` is `aName`, too."""

    __slots__ = ("_data",)

    def __init__(self, data):
        object.__setattr__(self, "_data", data)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        for known in (name, _HUMP.sub(lambda match: match[1].upper(), name)):
            if known in self._data:
                return self._data[known]
        raise AttributeError(f"there is no {name!r}; there are: {', '.join(self._data)}")

    def __getitem__(self, name):
        return self._data[name]

    def __iter__(self):
        return iter(self._data)

    def __dir__(self):
        return list(self._data)

    def __setattr__(self, name, value):
        raise AttributeError("the context is read-only")

    def __delattr__(self, name):
        raise AttributeError("the context is read-only")

    def __repr__(self):
        return f"<context {', '.join(self._data)}>"


class Live(Frozen):
    """Data with one member that changes: the host is asked for it, and it is recorded."""

    __slots__ = ("_live",)

    def __init__(self, data, live):
        super().__init__(data)
        object.__setattr__(self, "_live", live)

    def __getattr__(self, name):
        if self._live in (name, _HUMP.sub(lambda match: match[1].upper(), name)):
            return self[self._live]
        return super().__getattr__(name)

    def __getitem__(self, name):
        if name == self._live:
            return _frozen(host.effect("tool", "$state", {})[name])
        return self._data[name]

    def __iter__(self):
        return iter((*self._data, self._live))

    def __dir__(self):
        return [*self._data, self._live]


def _frozen(value):
    if isinstance(value, dict):
        return Frozen({key: _frozen(inner) for key, inner in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _progress(limits):
    state = {"count": 0, "next_ms": 0}

    def emit_progress(message, kind="info"):
        if not isinstance(message, str):
            raise TypeError("progress is a text")
        now_ms = time.time() * 1000
        if state["count"] >= limits["progress_count"] or now_ms < state["next_ms"]:
            return
        state["count"] += 1
        state["next_ms"] = now_ms + limits["progress_interval_ms"]
        text = message[: limits["progress_limit"]]
        try:
            kind = "warn" if kind == "warn" else "info"
            host.effect("tool", "$progress", {"message": text, "kind": kind})
        except host.EffectError:
            pass  # whoever shows progress is no part of the script

    return emit_progress


def _scope(names, context, limits):
    known = {}
    for name in names:
        level = known
        for part in name.split("."):
            level = level.setdefault(part, {})
    listed = ", ".join(name for name in names if name not in ("search", "describe"))

    def help(tool=None):
        if tool is None or isinstance(tool, ScriptTools):
            return (
                f"Tools: {listed or 'none'}.\ntools.describe(name) tells what one takes and gives, "
                "tools.search(words) finds some."
            )
        name = tool._name if isinstance(tool, Tool) else str(tool)
        return host.effect("tool", "describe", name)

    frozen = _frozen(context)
    for name, live in (("sandbox", "toolCallsLeft"), ("approvals", "lastRequest")):
        frozen._data[name] = Live(frozen._data[name]._data, live)
    frozen._data["telemetry"] = Frozen({"emitProgress": _progress(limits)})
    return {
        "__name__": "__main__",
        "tools": ScriptTools(known),
        "context": frozen,
        "help": help,
    }


def compile_script(source, name):
    """Return the code of a script, and that of its last expression or None."""
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    tree = compile(source, name, "exec", _FLAGS | ast.PyCF_ONLY_AST)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = compile(ast.Expression(tree.body.pop().value), name, "eval", _FLAGS)
    body = compile(tree, name, "exec", _FLAGS)
    if last is not None and tree.body and _is_async(last) and not _is_async(body):
        # One `await` makes the whole script async: what is before it may be what is awaited.
        never = ast.If(ast.Constant(False), [ast.Expr(ast.Await(ast.Constant(None)))], [])
        tree.body.append(ast.fix_missing_locations(ast.copy_location(never, tree.body[-1])))
        body = compile(tree, name, "exec", _FLAGS)
    return body, last


def _is_async(code):
    return bool(code.co_flags & inspect.CO_COROUTINE)


def run(source, name, names, context, limits):
    """Run a script and hand over its value."""
    host.send = _counted(host.send)
    body, last = compile_script(source, name)
    scope = _scope(names, context, limits)

    def part(code):
        return None if code is None else eval(code, scope)

    async def whole():
        value = part(body)
        if inspect.iscoroutine(value):
            await value
        value = part(last)
        if inspect.isawaitable(value):
            value = await value
        return value, await _end(limits["grace_ms"] / 1000)

    output.limit(limits["console_count"], limits["console_rate"])
    detached = []
    warnings, sys.stderr = sys.stderr, sys.stdout
    try:
        if any(code and _is_async(code) for code in (body, last)):
            value, detached = asyncio.run(whole())
        else:
            part(body)
            value = part(last)
    finally:
        tell_unheard()
        sys.stderr = warnings
    report = _misfit(value) or {"value": value}
    if detached:
        report["detached"] = detached
    host.effect("tool", "$return", report)


async def _end(grace_s):
    """Stop the calls that nobody waited for; return the names of those that go on."""
    left = dict(_calls)
    for _path, number in left.values():
        host.effect("tool", "$abort", {"number": number})
    if left:
        await asyncio.wait(left, timeout=grace_s)
    still = [path for future, (path, _number) in left.items() if not future.done()]
    for future in left:
        future.remove_done_callback(_settled)
    return still
