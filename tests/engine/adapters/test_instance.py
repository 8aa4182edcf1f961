"""Instances: apart from each other, and the same again from a snapshot, in another process too."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cloche.engine.abi import GuestStopped, Report, Stop, Submission, deliver_input
from cloche.engine.adapters import instance as module
from cloche.engine.adapters.instance import Instance
from cloche.engine.adapters.keys import load_key
from cloche.engine.errors import ImageError, InstanceClosedError, SnapshotError
from cloche.engine.snapshot import seal, unseal
from cloche.errors import InternalError
from cloche.limits import Limits

from .support import MIB, guest, hostile, machine, printed, run_code, run_turn, start_input

KEY = bytes(range(32))
ROOT = Path(__file__).parents[3]
LANGUAGES = ("javascript", "python")

RESTORE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from cloche.engine.adapters.keys import load_key
from cloche.engine.snapshot import unseal
from cloche.limits import Limits
from tests.engine.adapters.support import guest, printed, run_turn

image, blob, turn = sys.argv[2], Path(sys.argv[3]).read_bytes(), Path(sys.argv[4]).read_bytes()
restored = guest(image, seed=99)
restored.restore(unseal(blob, load_key(), limits=Limits(), image_id=restored.image.id))
report = run_turn(restored, turn)
sys.stdout.write(printed(restored))
print(report.state, report.exit_code)
"""


class World:
    """Keeps what guests submit, for the test to complete."""

    def __init__(self) -> None:
        self.submitted: list[Submission] = []

    def call(self, submission: Submission, size_bytes: int) -> bytes:
        """Refuse: these tests have no synchronous calls."""
        raise AssertionError(submission)

    def submit(self, submission: Submission, size_bytes: int) -> None:
        """Keep a request."""
        self.submitted.append(submission)

    def wait(self, timeout_ns: int | None) -> list[bytes]:
        """Refuse: these tests have no waits inside a turn."""
        raise AssertionError(timeout_ns)

    def abandon(self, submission_id: int) -> None:
        """Refuse: these tests give nothing up."""
        raise AssertionError(submission_id)


def elsewhere(
    instance: Instance, turn: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Snapshot an instance, go on with it in another process, and return what that printed."""
    monkeypatch.setenv("CLOCHE_KEY_FILE", str(tmp_path / "key"))
    blob, body = tmp_path / "snapshot", tmp_path / "turn"
    blob.write_bytes(seal(instance.snapshot(), load_key()))
    body.write_bytes(turn)
    done = subprocess.run(
        [sys.executable, "-c", RESTORE, str(ROOT), instance.image.name, str(blob), str(body)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


# --- isolation ---


@pytest.mark.parametrize(
    ("language", "write", "read"),
    [
        ("python", "x = 1", "print('x' in globals())"),
        ("python", "import json; json.mine = 1", "import json; print(hasattr(json, 'mine'))"),
        ("python", "import builtins; builtins.mine = 1", "print('mine' in dir(__builtins__))"),
        ("python", "open('/f', 'w').write('x')", "import os; print(os.path.exists('/f'))"),
        ("python", "open('/tmp/f', 'w').write('x')", "import os; print(os.listdir('/tmp') != [])"),
        ("javascript", "globalThis.x = 1", "console.log('x' in globalThis)"),
        ("javascript", "Array.prototype.mine = 1", "console.log('mine' in [])"),
        (
            "javascript",
            "require('fs').writeFileSync('/f', 'x')",
            "console.log(require('fs').existsSync('/f'))",
        ),
    ],
)
def test_instances_share_nothing(language: str, write: str, read: str) -> None:
    """What one instance changes is there for itself, and not for another, older or newer."""
    older, writer = guest(language), guest(language)
    run_code(writer, write)
    newer = guest(language)
    assert run_code(writer, read).lower() == "true\n"
    assert run_code(older, read).lower() == run_code(newer, read).lower() == "false\n"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (
            "python",
            (
                "import os, random, uuid, secrets, numpy.random as n\n"
                "print(os.urandom(8), random.random(), uuid.uuid4(), secrets.token_hex(4), "
                "n.default_rng().random(), n.random())"
            ),
        ),
        ("javascript", "console.log(Math.random(), crypto.randomUUID())"),
    ],
)
def test_randomness_is_the_seeds(language: str, code: str) -> None:
    """Equal seeds give equal randomness, other seeds another, however many instances there are."""

    def draw(seed: int) -> str:
        instance = guest(language, seed=seed)
        assert run_turn(instance, start_input(code, language, seed=seed)) == Report(state="done")
        return printed(instance)

    assert draw(1) == draw(1) != draw(2)


def test_two_at_the_same_time() -> None:
    """Instances run on threads of their own, each with its own output and clock."""
    code = (
        "import time\ntime.sleep({n})\n"
        "for i in range(50): print({n}, i)\nprint(time.monotonic() >= {n})"
    )
    outputs: dict[int, str] = {}

    def run(number: int) -> None:
        outputs[number] = run_code(guest("python"), code.format(n=number))

    threads = [threading.Thread(target=run, args=(number,)) for number in (10, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (10, 2000):
        lines = [f"{number} {index}\n" for index in range(50)]
        assert outputs[number] == "".join([*lines, "True\n"])


# --- snapshots ---

STATES: dict[str, tuple[str, str, str, str]] = {
    "javascript closures": (
        "javascript",
        """
        globalThis.counter = (() => { let n = 40; return () => ++n })();
        globalThis.map = new Map([[1, new Set("ab")]]); globalThis.big = 2n ** 100n;
        globalThis.bytes = new Uint8Array([1, 2, 3]); globalThis.re = /a(?<x>b)/g;
        globalThis.gen = (function* () { yield 1; yield 2; yield 3 })(); gen.next();
        globalThis.self = {}; self.self = self;
        class P { #secret = 7; get secret() { return this.#secret } }; globalThis.p = new P();
        counter()
        """,
        """
        console.log(counter(), map.get(1).has("b"), big === 2n ** 100n, [...bytes].join());
        console.log(re.exec("ab").groups.x, gen.next().value, self.self === self, p.secret)
        """,
        "42 true true 1,2,3\nb 2 true 7\n",
    ),
    "python objects": (
        "python",
        """
import collections, datetime, decimal, re
class Point:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
def counting():
    n = 40
    def step():
        nonlocal n
        n += 1
        return n
    return step
step, point, rows = counting(), Point(3), collections.defaultdict(list, a=[1])
rows["self"].append(rows)
generator = (n * n for n in range(5)); next(generator); next(generator)
when, money, pattern = datetime.date(2024, 2, 29), decimal.Decimal("1.10"), re.compile("a+")
step()
""",
        """
print(step(), point.x, rows["a"], rows["self"][0] is rows, next(generator))
print(when, money, pattern.match("aab")[0], isinstance(point, Point), hash("a") == hash("a"))
""",
        "42 3 [1] True 4\n2024-02-29 1.10 aa True True\n",
    ),
    "numpy arrays": (
        "python+numpy",
        """
import numpy as np
a = np.arange(300_000, dtype=np.float64).reshape(300, 1000)
view, rng = a[::2, ::-1], np.random.default_rng(5)
rng.random(3)
expected = (float(a.sum()), float(np.random.default_rng(5).random(4)[3]))
structured = np.array([(1, "x")], dtype=[("n", "i4"), ("s", "U3")])
""",
        """
a[0, 999] = -1.0
print(float(view[0, 0]), view.base is a or view.base is a.base, float(rng.random()) == expected[1])
print(float(a.sum()) == expected[0] - 1000, structured["s"][0], a.flags.c_contiguous)
""",
        "-1.0 True True\nTrue x True\n",
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_state_goes_on_in_another_process(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot restored in another process continues with the same objects."""
    image, before, after, expected = STATES[name]
    instance = guest(image)
    language = instance.image.language
    run_code(instance, before)
    turn = start_input(after, language, persist=True)
    assert elsewhere(instance, turn, tmp_path, monkeypatch) == f"{expected}done 0\n"
    assert run_code(instance, after) == expected  # the original is untouched


AWAITING = {
    "javascript": """
        const prefix = "got"; let seen = 0;
        async function ask(n) { seen++; return prefix + await tools.answer({ n }) }
        console.log((await Promise.all([ask(1), ask(2)])).join(), seen)
    """,
    "python": """
import asyncio
prefix, seen = "got", []
async def ask(n):
    seen.append(n)
    return prefix + await tools.answer(n=n)
print(",".join(await asyncio.gather(ask(1), ask(2))), len(seen))
""",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_await_goes_on_in_another_process(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that waits for effects is answered after its snapshot was restored elsewhere."""
    world = World()
    instance = guest(language, effects=world)
    report = run_turn(instance, start_input(AWAITING[language], language))
    assert report == Report(state="waiting"), printed(instance)
    first, second = world.submitted
    assert [(first.target, first.args), (second.target, second.args)] == [
        ("answer", {"n": 1}),
        ("answer", {"n": 2}),
    ]
    completions = [b'{"id":%d,"value":"B"}' % second.id, b'{"id":%d,"value":"A"}' % first.id]
    turn = deliver_input(completions)
    assert elsewhere(instance, turn, tmp_path, monkeypatch) == "gotA,gotB 2\ndone 0\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_state_same_bytes(language: str) -> None:
    """Two instances that did the same have the same snapshot; taking it changes nothing."""
    code = {"python": "x = [1, {'a': 2.5}]", "javascript": "globalThis.x = [1, { a: 2.5 }]"}
    blobs = []
    for _ in range(2):
        instance = guest(language)
        run_code(instance, code[language])
        blobs += [seal(instance.snapshot(), KEY) for _ in range(2)]
    assert len(set(blobs)) == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_clock_and_entropy_go_on(language: str) -> None:
    """A restored instance has its files and open files, its time, and the next random bytes."""
    before = {
        "python": "import os\nos.mkdir('/d')\nf = open('/d/f', 'w+')\nf.write('one')\nf.flush()",
        "javascript": "fs = require('fs'); fs.mkdirSync('/d'); fs.writeFileSync('/d/f', 'one')",
    }[language]
    after = {
        "python": "import os, time\nf.write('two')\nf.seek(0)\nprint(f.read(), os.listdir('/d'), "
        "os.urandom(4), time.time_ns())",
        "javascript": "fs.appendFileSync('/d/f', 'two'); console.log(fs.readFileSync('/d/f', "
        "'utf8'), fs.readdirSync('/d'), crypto.randomUUID(), Date.now())",
    }[language]
    original = guest(language)
    run_code(original, before)
    blob = seal(original.snapshot(), KEY)
    restored = guest(language, now_ns=5, seed=77)
    restored.restore(unseal(blob, KEY, limits=Limits()))
    output = run_code(original, after)
    assert run_code(restored, after) == output
    assert output.startswith("onetwo")


def test_snapshot_without_the_kernels_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not tell which pages were written, comparing finds the same ones."""
    instance = guest("javascript")
    run_code(instance, "globalThis.x = 'y'.repeat(100000)")
    helped = instance.snapshot()
    assert instance.written_pages()
    monkeypatch.setattr(module, "written_pages", lambda *_: None)
    assert instance.snapshot() == helped
    assert instance.written_pages() == []


def test_grown_memory_goes_on() -> None:
    """Memory that the guest grew after the image was made is part of the snapshot."""
    original = guest("javascript")
    run_code(original, "globalThis.a = new Uint8Array(20 << 20); a[a.length - 1] = 9")
    snapshot = original.snapshot()
    assert snapshot.memory_bytes > 20 * MIB
    restored = guest("javascript")
    restored.restore(snapshot)
    assert run_code(restored, "console.log(a[a.length - 1], a.length)") == "9 20971520\n"
    small = Limits().replace({"guests": {"memory_limit_bytes": 16 * MIB}})
    with pytest.raises(SnapshotError) as caught:
        guest("javascript", small).restore(snapshot)
    assert caught.value.message == (
        f"the snapshot has {snapshot.memory_bytes} bytes of memory; guests.memory_limit_bytes is "
        "16777216"
    )


def test_tampered_snapshot_is_refused() -> None:
    """One changed bit anywhere, or another key, and nothing is restored."""
    instance = guest("javascript")
    run_code(instance, "globalThis.x = 1")
    blob = seal(instance.snapshot(), KEY)
    step = max(1, len(blob) // 200)
    for at in [*range(60), *range(60, len(blob), step), len(blob) - 1]:
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(SnapshotError):
            unseal(bytes(changed), KEY, limits=Limits())
    for other in (blob[:-1], blob + b"\0", blob[:37], b""):
        with pytest.raises(SnapshotError):
            unseal(other, KEY, limits=Limits())
    with pytest.raises(SnapshotError, match="signature does not match"):
        unseal(blob, bytes(32), limits=Limits())


def test_snapshot_of_another_image_is_refused() -> None:
    """A snapshot opens only for the image that it was taken from."""
    instance = guest("javascript")
    run_code(instance, "1")
    snapshot = instance.snapshot()
    python = guest("python")
    with pytest.raises(SnapshotError, match=r"^the snapshot belongs to another image$"):
        python.restore(snapshot)
    with pytest.raises(SnapshotError, match="restore it with the image it was taken from"):
        unseal(seal(snapshot, KEY), KEY, limits=Limits(), image_id=python.image.id)
    assert run_code(python, "print(1)") == "1\n"


# --- endings ---


@pytest.mark.parametrize(
    ("language", "code", "kind"),
    [
        ("python", "while True: pass", "time"),
        ("javascript", "for (;;) {}", "time"),
        ("python", "try:\n  while True: pass\nexcept BaseException: print('caught')", "time"),
        ("javascript", "try { for (;;) {} } finally { console.log('caught') }", "time"),
        ("javascript", "console.log('x'.repeat(20 << 20))", "output"),
        ("python", "import os\nos._exit(3)", "exit"),
        ("python", "import os\nos.abort()", "trap"),
    ],
)
def test_stopped_guest_is_gone(language: str, code: str, kind: str) -> None:
    """After a stop every use of the instance is refused; closing it again is fine."""
    instance = guest(language)
    snapshot = instance.snapshot()
    stop = run_turn(instance, start_input(code, language), seconds=0.2 if kind == "time" else 60)
    assert isinstance(stop, Stop)
    assert stop.kind == kind
    assert "caught" not in printed(instance)
    for use in (
        lambda: run_turn(instance),
        instance.snapshot,
        lambda: instance.restore(snapshot),
    ):
        with pytest.raises(InstanceClosedError) as caught:
            use()
        assert caught.value.message == (
            "this instance is closed; start another from its image or snapshot"
        )
    instance.close()
    assert instance.memory_bytes >= MIB


def test_cancelled() -> None:
    """A turn that another thread cancels ends as a stop within a tick."""
    instance = guest("python")
    instance.machine.streams._sink = lambda *_: instance.cancel()
    stop = run_turn(instance, start_input("print(1)\nwhile True: pass", "python"), seconds=60)
    assert stop == Stop(kind="time", message="the guest was interrupted at its deadline")


def use_while_running(use: Any, tmp_path: Path) -> tuple[Instance, Any]:
    """Run a guest that prints and then loops, with `use(instance)` called when it prints."""
    loop = "(drop (call $gate (i32.const 16) (i32.const 512) (i32.const 1))) (loop $l (br $l))"
    instance = hostile("javascript", tmp_path, loop)
    instance.machine.streams._sink = lambda *_: use(instance)
    return instance, lambda: run_turn(instance, seconds=60)


@pytest.mark.parametrize("use", [run_turn, Instance.snapshot], ids=["turn", "snapshot"])
def test_busy_instance_is_refused(use: Any, tmp_path: Path) -> None:
    """A running instance takes no other turn and no snapshot, from wherever."""
    instance, run = use_while_running(use, tmp_path)
    message = "^this instance is running a turn; only cancel or close it now$"
    with pytest.raises(InternalError, match=message):
        run()
    assert instance.closed


def test_closing_a_busy_instance_cancels_it(tmp_path: Path) -> None:
    """The memory is freed when the turn has ended, not under it."""
    instance, run = use_while_running(Instance.close, tmp_path)
    assert run().kind == "time"
    assert instance.closed


def test_failure_of_the_host_closes_the_instance() -> None:
    """An error of the host's own comes out as it is, and the guest is not gone on with."""

    class BrokenPipe(Exception):  # noqa: N818
        pass

    def broken(*_: object) -> None:
        raise BrokenPipe

    instance = guest("python")
    instance.machine.streams._sink = broken
    code = "try:\n  print(1)\nexcept BaseException as e:\n  x = e\nwhile True: pass"
    with pytest.raises(BrokenPipe):
        run_turn(instance, start_input(code, "python"), seconds=60)
    assert instance.closed


def test_image_that_cannot_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel refuses the mapping the error says so."""
    guest("javascript")

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(module, "map_to_write", refuse)
    with pytest.raises(ImageError, match=r"^cannot map the image javascript: "):
        guest("javascript")


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_a_renewed_instance_is_a_fresh_one(language: str) -> None:
    """After a run every byte of memory is the image's again, and the next run gives the same."""
    code = {
        "javascript": "globalThis.kept = 1; console.log(Math.random(), typeof lost)",
        "python": "import json\nkept = [json.dumps(n) for n in range(99)]\nprint(id(object()))",
    }[language]
    used = guest(language)
    output = run_code(used, code)
    assert used.renew()
    memory, kept = used._store.memory, used.image.memory
    assert kept is not None
    assert ctypes.string_at(memory.base, kept.size) == ctypes.string_at(kept.base, kept.size)
    used.attach(machine())
    assert run_code(used, code) == output
    assert run_code(guest(language), code) == output


def test_an_instance_that_grew_is_not_renewed() -> None:
    """Memory cannot shrink: a guest would see that it is not the first."""
    used = guest("javascript")
    run_code(used, "globalThis.big = new Uint8Array(8 << 20)")
    assert not used.renew()


def test_a_stopped_instance_is_not_renewed() -> None:
    """What a stop left behind is never given to anyone."""
    used = guest("javascript")
    used.close()
    assert not used.renew()


def test_without_the_kernels_word_nothing_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where written pages are not known an instance is used once."""
    used = guest("javascript")
    run_code(used, "1")
    monkeypatch.setattr(module, "written_ranges", lambda *_: None)
    assert not used.renew()


def test_warming_failure_is_a_stop(tmp_path: Path) -> None:
    """A prelude that fails in a raw instance ends as a stop."""
    raw = hostile("python", tmp_path, "unreachable")
    with pytest.raises(GuestStopped):
        raw.warm([("boot.py", "")])
    assert raw.closed
    assert machine().host_call_count == 0
