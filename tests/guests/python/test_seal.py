"""What sealing the image is for, and that programs see nothing of it."""

from __future__ import annotations

import cloche
from cloche.engine.abi import Report, StartInput, Stop, encode
from cloche.engine.adapters.images import Images
from cloche.engine.adapters.instance import Instance, Outcome, deadline_after
from cloche.engine.adapters.machine import Machine
from cloche.limits import Limits

PAGES_MAX = 180  # of 4 KiB, for a program that prints; 125 when this was written, 261 unsealed


def instance() -> Instance:
    """Return a fresh one."""
    machine = Machine(Limits(), now_ns=0, seed=1, sink=lambda *_: None)
    return Instance(Images(Limits()).get("python"), machine)


def turn(subject: Instance, code: str) -> Outcome:
    """Run a program."""
    start = StartInput(
        language="python",
        filename="main.py",
        code=code,
        argv=["main.py"],
        env={},
        cwd="/",
        seed=1,
        now_ns="0",
        path=["/"],
    )
    return subject.turn(encode(start), deadline_ns=deadline_after(60 * 10**9))


def output(code: str) -> str:
    """Return what a program prints."""
    result = cloche.run(code, language="python")
    assert result.run is not None
    return result.run.stdout


def test_small_program_writes_few_pages() -> None:
    """What a run only looks at stays shared with the image: nobody counts its references."""
    subject = instance()
    outcome = turn(subject, "print(1 + 1)")
    assert isinstance(outcome, Report)
    assert outcome.state == "done"
    assert 0 < len(subject.written_pages()) < PAGES_MAX
    subject.close()


def test_sealing_is_over() -> None:
    """A program that asks for it breaks the protocol."""
    outcome = turn(instance(), "import _host\n_host.call(b'\\x07')")
    assert outcome == Stop(kind="protocol", message="an image is sealed when it is made")


def test_objects_of_a_program_are_freed() -> None:
    """What a program makes has its references counted, and cycles of it are collected."""
    code = """
import gc, sys, weakref
class Node: pass
one = Node(); seen = weakref.ref(one)
print(sys.getrefcount(one) < 5)
del one
print(seen())
two = Node(); two.me = two; seen = weakref.ref(two)
del two
gc.collect()
print(seen())
"""
    assert output(code) == "True\nNone\nNone\n"


def test_what_the_image_holds_can_be_changed() -> None:
    """Modules, classes and texts of the image are a program's own, as if it had made them."""
    code = """
import builtins, gc, json, os, sys
for i in range(1000):
    setattr(json, f"extra{i}", [i]); sys.path.append(str(i)); builtins.__dict__[f"b{i}"] = i
print(json.extra999, b999, len(sys.path) > 1000)
for i in range(1000):
    delattr(json, f"extra{i}"); del builtins.__dict__[f"b{i}"]
del sys.path[-1000:], sys.modules["json"], os.path, json
import json
text = sys.version
text += "!" * 10
print(json.dumps({"a": 1}), text != sys.version, hasattr(os, "path"), gc.collect() >= 0)
gc.unfreeze()
gc.collect()
print(json.loads("[1]"))
"""
    assert output(code) == '[999] 999 True\n{"a": 1} True False True\n[1]\n'
