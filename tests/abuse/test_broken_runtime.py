"""Attack: a program that breaks the objects which its own runtime is made of."""

from __future__ import annotations

import pytest

from abuse.support import attack

JAVASCRIPT = {
    "no globals": (
        "for (const n of Object.getOwnPropertyNames(globalThis)) {\n"
        "  try { delete globalThis[n]; globalThis[n] = undefined } catch {}\n}"
    ),
    "prototypes that throw": (
        "for (const C of [Object, Array, Function, Promise, Map, Set, String, Error]) {\n"
        "  for (const n of Object.getOwnPropertyNames(C.prototype)) {\n"
        "    try { Object.defineProperty(C.prototype, n, { get() { throw 1 } }) } catch {}\n  }\n}"
    ),
    "toJSON for everything": "Object.prototype.toJSON = () => 'x'",
    "no iteration": "Array.prototype[Symbol.iterator] = null; setTimeout(() => {}, 1)",
    "fields of a report": (
        "Object.defineProperty(Object.prototype, 'state', { value: 'waiting' });\n"
        "Object.defineProperty(Object.prototype, 'exit_code', { get() { throw 1 } })"
    ),
    "maps that throw": "Map.prototype.set = () => { throw 1 }; setTimeout(() => {}, 1)",
    "no JSON": "JSON.parse = JSON.stringify = null; setTimeout(() => {}, 1)",
    "a then that throws": (
        "Object.defineProperty(Object.prototype, 'then', { get() { throw 1 } }); await 1"
    ),
    "frozen": "Object.freeze(globalThis); Object.freeze(Object.prototype)",
    "setters everywhere": (
        "Object.defineProperty(Object.prototype, '0', { set() { throw 1 } });\n"
        "setTimeout(() => {}, 1)"
    ),
}

PYTHON = {
    "no builtins": (
        "import builtins\nfor name in list(vars(builtins)):\n"
        "    try: delattr(builtins, name)\n    except BaseException: pass"
    ),
    "no modules": "import sys\nsys.modules.clear()",
    "no path": "import sys\nsys.path.clear(); sys.meta_path.clear(); sys.path_hooks.clear()",
    "no entry": "import builtins\nbuiltins._cloche_turn = None",
    "no driver": "import _cloche\nvars(_cloche.driver).clear()",
    "no host": "import _cloche.host\nvars(_cloche.host).clear()",
    "no globals": "globals().clear()",
    "an audit hook": "import sys\ndef h(*a): raise RuntimeError\nsys.addaudithook(h)",
    "a profiler": "import sys\ndef p(*a): raise RuntimeError\nsys.setprofile(p)",
    "no recursion": "import sys\nsys.setrecursionlimit(10)\n1 / 0",
    "its own frames": (
        "import sys\nframe = sys._getframe()\n"
        "while frame: frame.f_globals.clear(); frame = frame.f_back"
    ),
}


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_hurts_itself_alone(code):
    """The run ends by itself or as a failure of the program, and the next is right."""
    _, error = attack(code, "javascript")
    assert error is None or error.case == "runtime-failed", error


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_hurts_itself_alone(code):
    """The run ends by itself, as a failure, or as a guest that broke down; the next is right."""
    _, error = attack(code, "python")
    assert error is None or error.case in {"runtime-failed", "internal"}, error
