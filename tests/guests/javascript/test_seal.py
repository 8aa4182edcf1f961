"""What sealing the image is for, and that programs see nothing of it."""

from __future__ import annotations

from cloche.engine.abi import Report, StartInput, encode
from cloche.engine.adapters.images import Images
from cloche.engine.adapters.instance import Instance, deadline_after
from cloche.engine.adapters.machine import Machine
from cloche.limits import Limits

from .driver import run

PAGES_MAX = 60  # of 4 KiB, for a program that prints; 34 when this was written, 129 unsealed


def test_small_program_writes_few_pages() -> None:
    """What a run only looks at stays shared with the image: nobody counts its references."""
    machine = Machine(Limits(), now_ns=0, seed=1, sink=lambda *_: None)
    instance = Instance(Images(Limits()).get("javascript"), machine)
    start = StartInput(
        language="javascript",
        filename="main.js",
        code="print(1 + 1)",
        argv=["main.js"],
        env={},
        cwd="/",
        seed=1,
        now_ns="0",
        path=["/"],
    )
    outcome = instance.turn(encode(start), deadline_ns=deadline_after(60 * 10**9))
    assert isinstance(outcome, Report)
    assert outcome.state == "done"
    assert 0 < len(instance.written_pages()) < PAGES_MAX
    instance.close()


def test_garbage_is_collected() -> None:
    """Cycles of a program are freed before they reach the memory limit, which they would."""
    code = """
    for (let i = 0; i < 40000; i++) { const a = [new Array(1000).fill(i)]; a.push(a); }
    print("done");
    """
    assert run(code).stdout == "done\n"


def test_what_the_image_holds_can_be_changed() -> None:
    """Objects, functions and texts of the image are a program's own, as if it had made them."""
    code = """
    const kept = Array.prototype.at;
    for (let i = 0; i < 1000; i++) {
      globalThis[`name${i}`] = i; Array.prototype[`extra${i}`] = i; console[`more${i}`] = kept;
    }
    print([].extra999, name500, console.more7 === [].at, Object.keys(console).length > 1000);
    for (let i = 0; i < 1000; i++) {
      delete globalThis[`name${i}`]; delete Array.prototype[`extra${i}`];
      delete console[`more${i}`];
    }
    print([].extra999, typeof name500, console.more7);
    delete Array.prototype.at; delete globalThis.URL; process.env = undefined;
    print([].at, typeof URL, typeof process.argv);
    """
    assert run(code).stdout == (
        "999 500 true true\nundefined undefined undefined\nundefined undefined object\n"
    )
