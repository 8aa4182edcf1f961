"""Attack: code that never ends and never asks the host for anything."""

from __future__ import annotations

import pytest

from abuse.support import times_out

PYTHON = {
    "a loop": "while True: pass",
    "a sum in C": "sum(range(10**18))",
    "a search in C": "10**18 in iter(range(10**18 + 1))",
    "an endless iterator in C": "import itertools; sum(itertools.count())",
    "sorting with a hostile key": "a = [1, 2]\nwhile True: a.sort(key=lambda _: sorted(a))",
    "reading an empty input": "while True:\n    try: input()\n    except EOFError: pass",
    "a trace function": "import sys\ndef t(*a):\n    while True: pass\nsys.settrace(t)\nt()",
    "a callback of the collector": (
        "import gc\ndef f(*a):\n    while True: pass\ngc.callbacks.append(f); gc.collect()"
    ),
    "a database query": (
        "import sqlite3\nsqlite3.connect(':memory:').execute('with recursive t(n) as "
        "(select 1 union all select n + 1 from t) select count(*) from t').fetchall()"
    ),
}

JAVASCRIPT = {
    "a loop": "for (;;);",
    "waiting for a later date": "const t = Date.now() + 1e12; while (Date.now() < t);",
    "an endless iterator": (
        "for (const x of { [Symbol.iterator]() { return this }, next: () => ({}) });"
    ),
    "an endless generator": "async function* g() { for (;;) yield } for await (const x of g());",
    "a sort that never agrees": "const f = () => { for (;;); }; [1, 2].sort(f)",
    "a proxy": "new Proxy({}, { get() { for (;;); } }).x",
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_is_stopped(code):
    """The time limit stops it, inside native code too."""
    times_out(code, "python")


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_is_stopped(code):
    """The time limit stops it, inside native code too."""
    times_out(code, "javascript")
