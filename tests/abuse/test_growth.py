"""Attack: memory that grows piece by piece, in every kind of object."""

from __future__ import annotations

import pytest

from abuse.support import exceeds, fails

PYTHON = {
    "bytes": "k = []\nwhile True: k.append(b'x' * (1 << 20))",
    "small bytes": "k = []\nwhile True: k.append(b'x' * 1000)",
    "a string": "s = 'x'\nwhile True: s += s",
    "a bytearray": "b = bytearray(1)\nwhile True: b += bytes(len(b))",
    "objects": "k = []\nwhile True: k.append(object())",
    "a dictionary": "k = {}\ni = 0\nwhile True: i += 1; k[i] = str(i)",
    "closures": "f = None\nwhile True: f = (lambda g: lambda: g)(f)",
    "cycles without a collector": "import gc; gc.disable()\nwhile True: a = []; a.append(a)",
    "joined text": "'a'.join(['b' * 10**6] * 1000)",
    "arrays": "import array\nk = []\nwhile True: k.append(array.array('d', bytes(1 << 20)))",
    "files kept open": "k = []\nwhile True: k.append(open('/a', 'w'))",
    "permutations": "import itertools; list(itertools.permutations(range(12)))",
}

JAVASCRIPT = {
    "typed arrays": "const k = []; for (;;) k.push(new Uint8Array(1 << 20).fill(1))",
    "array buffers": "const k = []; for (;;) k.push(new ArrayBuffer(1 << 20))",
    "strings": "const k = []; for (;;) k.push('x'.repeat(1 << 16) + k.length)",
    "objects": "const k = []; for (;;) k.push({})",
    "a chain of objects": "let k = null; for (;;) k = { k }",
    "a map": "const k = new Map(); for (let i = 0; ; i++) k.set(i, String(i))",
    "concat": "let a = [0]; for (;;) a = a.concat(a)",
    "closures": "let f = null; for (;;) f = ((g) => () => g)(f)",
    "symbols": "const k = {}; for (;;) k[Symbol()] = 1",
    "bound functions": "let f = () => 1; for (let i = 0; i < 1e6; i++) f = f.bind(null)",
    "random bytes": (
        "const k = []; for (;;) k.push(crypto.getRandomValues(new Uint8Array(65536)))"
    ),
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_ends_as_memory(code):
    """A MemoryError that nothing catches ends the run as the memory limit."""
    exceeds("memory", code, "python")


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_ends_as_memory(code):
    """The memory limit counts everything, typed arrays too."""
    exceeds("memory", code, "javascript")


def test_javascript_strings_have_a_largest_length():
    """Doubling a string ends before the memory does, with an error that can be caught."""
    fails("InternalError", 'let s = "x"; for (;;) s += s', "javascript")


@pytest.mark.parametrize("offset", range(0, 2 << 20, 300 << 10))
@pytest.mark.parametrize("code", [PYTHON["objects"], PYTHON["a dictionary"], PYTHON["small bytes"]])
def test_no_byte_left_to_say_so(code, offset):
    """However little is left when the limit is reached, the run ends as memory, with its output."""
    exceeds("memory", code, "python", limits={"memory_limit_bytes": (46 << 20) + offset})
