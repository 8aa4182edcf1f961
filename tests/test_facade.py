"""The front door: every public name is there, and opening it costs little."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cloche


def fresh(program):
    """Run a program in a new interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", cloche.__all__)
def test_public_name(name):
    """Each public name exists and is documented."""
    value = getattr(cloche, name)
    if name not in {"__version__", "ExecEvent"}:
        assert value.__doc__


def test_every_name_by_itself():
    """Each public name can be the first that a fresh process asks for."""
    program = (
        "import sys, cloche\n"
        "for name in cloche.__all__:\n"
        "    for module in [m for m in sys.modules if m.startswith('cloche.')]:\n"
        "        if module not in ('cloche._version', 'cloche.errors'): del sys.modules[module]\n"
        "    cloche.__dict__.pop(name, None) if name in cloche._HOME_OF else None\n"
        "    getattr(cloche, name)\n"
        "print(len(cloche.__all__))"
    )
    assert fresh(program) == str(len(cloche.__all__))


def test_import_is_lazy():
    """`import cloche` loads neither the engine nor any other package."""
    program = (
        "import sys; before = set(sys.modules); import cloche\n"
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] != 'typing'))"
    )
    loaded = eval(fresh(program))
    assert {name for name in loaded if name.startswith("cloche")} == {
        "cloche",
        "cloche._version",
        "cloche.errors",
    }
    assert not {"wasmtime", "msgspec", "typer", "asyncio"} & set(loaded)


def test_star_import():
    """`from cloche import *` brings exactly the public names."""
    namespace = {}
    exec("from cloche import *", namespace)
    assert set(cloche.__all__) <= set(namespace)


def test_unknown_name():
    """A name that is not there is an AttributeError with the usual words."""
    with pytest.raises(AttributeError) as caught:
        cloche.ruin  # noqa: B018
    assert str(caught.value) == "module 'cloche' has no attribute 'ruin'"


def test_names_are_unique():
    """No public name is listed twice, and each has one home."""
    assert len(set(cloche.__all__)) == len(cloche.__all__)
    homes = [name for names in cloche._HOMES.values() for name in names]
    direct = {"ClocheError", "__version__"}
    assert set(homes) | direct == set(cloche.__all__)


def test_names_come_from_their_home():
    """A public name is the very object of the module that owns it."""
    from cloche.exec.api import run
    from cloche.gate.errors import DivergenceError

    assert cloche.run is run
    assert cloche.DivergenceError is DivergenceError
