"""Tests of the port: who implements it has its shape, and the engine calls it as it says."""

from __future__ import annotations

import inspect
import json
import typing

import pytest

from cloche.engine import abi, ports
from cloche.engine.abi import GuestStopped, Op, Stop, Submission
from cloche.engine.ports import EffectPort
from cloche.exec.adapters.effects import Effects
from engine.adapters.support import machine
from engine.support import stops


class Echo:
    """Answers every effect with what it was asked."""

    def __init__(self):
        self.calls = []

    def call(self, submission, size_bytes):
        self.calls.append(("call", submission, size_bytes))
        return b'{"value":1}'

    def submit(self, submission, size_bytes):
        self.calls.append(("submit", submission, size_bytes))

    def wait(self, timeout_ns):
        self.calls.append(("wait", timeout_ns))
        return [b'{"id":1,"value":2}', b'{"id":3,"value":4}']

    def abandon(self, submission_id):
        self.calls.append(("abandon", submission_id))


def methods():
    """Return the port's own methods by name."""
    return {n: f for n, f in inspect.getmembers(EffectPort, inspect.isfunction) if n[0] != "_"}


@pytest.mark.parametrize("kind", [Effects, Echo])
def test_implementations_have_the_shape(kind):
    """Each method is there with the same parameters."""
    assert sorted(methods()) == ["abandon", "call", "submit", "wait"]
    for name, method in methods().items():
        ours = inspect.signature(getattr(kind, name)).parameters
        assert list(ours) == list(inspect.signature(method).parameters)


@pytest.mark.parametrize("name", ["abandon", "call", "submit", "wait"])
def test_types_are_those_of_the_port(name):
    """Where the implementation of production says types, they are the same."""
    known = {**vars(abi), **vars(ports)}
    declared = typing.get_type_hints(getattr(EffectPort, name), localns=known)
    assert typing.get_type_hints(getattr(Effects, name), localns=known) == declared


def test_the_engine_calls_it_as_it_says():
    """Effects come as submissions with the size of the message; completions go as one list."""
    port = Echo()
    ours = machine(effects=port)
    body = b'{"id":1,"kind":"tool","target":"add","args":[1]}'
    submission = Submission(kind="tool", target="add", args=[1], id=1)
    assert ours.operate(Op.EFFECT, body) == b'{"value":1}'
    assert ours.operate(Op.SUBMIT, body) == b""
    assert [c["id"] for c in json.loads(ours.operate(Op.WAIT, b'{"timeout_ns":7}'))] == [1, 3]
    assert port.calls == [
        ("call", submission, len(body)),
        ("submit", submission, len(body)),
        ("wait", 7),
    ]


def test_what_it_raises_stops_the_guest():
    """A port may end the turn; nothing on the way takes that for an answer."""

    class Closed(Echo):
        def call(self, submission, size_bytes):
            raise GuestStopped(Stop(kind="gate", message="closed"))

    with stops("gate", "closed"):
        machine(effects=Closed()).operate(Op.EFFECT, b'{"kind":"tool","target":"add"}')
