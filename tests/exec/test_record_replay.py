"""A recorded run can be run again to the same bytes; any other program or file is refused."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest
from tests.clock import stop_clock
from tests.exec.support import LANGUAGES, NOW_NS, both, small, start

import cloche
from cloche.exec.api import default_runner, request_of
from cloche.gate.adapters.file import read_journal
from cloche.gate.entries import RunInputs, RunOutcome
from cloche.gate.errors import (
    DivergenceError,
    JournalError,
    JournalExistsError,
    JournalTruncatedError,
)
from cloche.gate.gate import Gate
from cloche.gate.journal import encode_file
from cloche.gate.policy import Policy
from cloche.limits import Limits

# Everything that could differ: time, randomness, order of completion, files, error output.
PROGRAM = {
    "python": """
import asyncio, os, random, sys, time, uuid
print(time.time(), random.random(), uuid.uuid4(), os.urandom(4).hex(), sys.argv, id(object()) > 0)
async def ask(name):
    print("answer", await tools.ask(name=name), time.monotonic())
    await tools.has(name)
await asyncio.gather(*[ask(name) for name in ("slow", "fast", "none")], return_exceptions=True)
try:
    await tools.forbidden()
except Exception as error:
    print(error.code, file=sys.stderr)
open("out.txt", "w").write(str(time.time()))
print(open("in.txt").read(), sys.stdin.read(), os.environ["NAME"])
sys.exit(7)
""",
    "javascript": """
import { readFileSync, writeFileSync } from "node:fs";
console.log(Date.now(), Math.random(), crypto.randomUUID(), performance.now(), process.argv);
const ask = async (name) => {
  console.log("answer", await tools.ask({ name }), Date.now());
  await tools.has(name);
};
await Promise.allSettled(["slow", "fast", "none"].map(ask));
try { await tools.forbidden(); } catch (error) { console.error(error.code); }
writeFileSync("out.txt", String(Date.now()));
console.log(readFileSync("in.txt", "utf8"), readFileSync(0, "utf8"), process.env.NAME);
process.exit(7);
""",
}


def record(language, path, code=None):
    """Run the program with real tools and write its journal; return the execution."""
    fast_is_there = threading.Event()

    def ask(name):
        if name == "slow":
            assert fast_is_there.wait(60)
        if name == "none":
            raise LookupError(name)
        return {"name": name, "at": time.time_ns()}

    def has(name):
        if name == "fast":
            fast_is_there.set()

    return start(
        code or PROGRAM[language],
        language,
        tools={"ask": ask, "has": has},
        record=path,
        files=[cloche.File(name="in.txt", content="é".encode())],
        args=["a"],
        env={"NAME": "value"},
        stdin="stdin",
    )


@both
def test_replay_equals_live(language, tmp_path):
    """A replay performs nothing, and has the same output, exit code, files and journal hash."""
    live = record(language, tmp_path / "run.journal")
    assert (live.exit_code, live.error, live.result.run.stderr) == (7, None, "POLICY_DENIED\n")
    lines = [line for line in live.result.run.stdout.splitlines() if line.startswith("answer")]
    assert ["fast" in lines[0], "slow" in lines[1], len(lines)] == [True, True, 2]
    again = cloche.replay(tmp_path / "run.journal")
    assert again.result.run == live.result.run
    assert (again.exit_code, again.files) == (7, live.files)
    assert again.journal_hash == live.journal_hash
    assert again.run_id != live.run_id


@both
def test_journal_names_the_run(language, tmp_path):
    """The hash of the run is that of the file, and the file holds all that went in."""
    live = record(language, tmp_path / "run.journal")
    recorded = read_journal(tmp_path / "run.journal")
    assert recorded.hash == live.journal_hash
    request = request_of(recorded.inputs)
    assert request.code == PROGRAM[language]
    assert (request.args, dict(request.env), request.stdin) == (("a",), {"NAME": "value"}, b"stdin")
    assert request.inputs(recorded.inputs.image_id, world="sandboxed") == recorded.inputs


# how the program changed: (old, new) in Python and JavaScript, and what both sides show
CHANGES = {
    "arguments": (
        ("tools.ask(name=name)", "tools.ask(name=name, more=1)"),
        ("tools.ask({ name })", "tools.ask({ name, more: 1 })"),
    ),
    "output": (("print(time.time()", "print('x', time.time()"), ("log(Date", "log('x', Date")),
    "order": (('"slow", "fast"', '"fast", "slow"'), ('"slow", "fast"', '"fast", "slow"')),
    "one call less": (
        (
            "    await tools.forbidden()",
            "    raise type('E', (Exception,), {'code': 'POLICY_DENIED'})",
        ),
        ("await tools.forbidden();", "throw { code: 'POLICY_DENIED' };"),
    ),
    "exit code": (("sys.exit(7)", "sys.exit(8)"), ("exit(7)", "exit(8)")),
    "error output": (("print(error.code,", "print('E',"), ("error(error.code)", "error('E')")),
    "files": (('open("out.txt"', 'open("oUt.txt"'), ('writeFileSync("out', 'writeFileSync("oUt')),
}


@both
@pytest.mark.parametrize("change", CHANGES)
def test_changed_program_diverges(language, change, tmp_path):
    """A replay that does anything else stops with what was recorded and what came instead."""
    old, new = CHANGES[change][LANGUAGES.index(language)]
    assert old in PROGRAM[language]
    record(language, tmp_path / "run.journal")
    recorded = read_journal(tmp_path / "run.journal")
    changed = PROGRAM[language].replace(old, new)
    request = request_of(msgspec.structs.replace(recorded.inputs, code=changed.encode()))
    with pytest.raises(DivergenceError) as caught:
        default_runner().execute(request, replay=recorded)
    fields = caught.value.fields
    assert fields["recorded"] != fields["requested"]
    assert fields["reason"]
    assert caught.value.code == "DIVERGENCE"


@both
@pytest.mark.parametrize("limit", ["time", "memory", "output"])
def test_stopped_runs_replay(language, limit, tmp_path):
    """The journal of a run that a limit stopped is whole, and says how it ended."""
    path = tmp_path / "run.journal"
    endless = {
        "time": ("while True: pass", "for (;;);"),
        "memory": (
            "x = [bytes(1 << 20) for _ in range(999)]",
            "const x = []; for (;;) x.push(new Uint8Array(1 << 20).fill(1));",
        ),
        "output": ("while True: print('y' * 99)", "for (;;) console.log('y'.repeat(99));"),
    }[limit][LANGUAGES.index(language)]
    limits = {
        "time": small(timeout_ms=100),
        "memory": small(memory_limit_bytes=32 << 20 if language != "python" else 64 << 20),
        "output": small(output_limit_bytes=500),
    }[limit]
    live = start(endless, language, record=path, limits=limits)
    assert read_journal(path).hash == live.journal_hash
    again = cloche.replay(path)
    assert again.result.run == live.result.run
    assert (again.exit_code, again.journal_hash) == (live.exit_code, live.journal_hash)


def test_tampered_file_is_refused(tmp_path):
    """A journal with any byte changed, or cut anywhere, is not run."""
    path = tmp_path / "run.journal"
    start("print(tools.it())", "python", tools={"it": lambda: 42}, record=path, seed=1, now_ns=2)
    data = path.read_bytes()
    other = tmp_path / "other.journal"
    for position in range(0, len(data), max(1, len(data) // 40)):
        changed = bytearray(data)
        changed[position] ^= 0x20
        other.write_bytes(changed)
        with pytest.raises(JournalError):
            cloche.replay(other)
    other.write_bytes(data + b"\0")
    with pytest.raises(JournalError):
        cloche.replay(other)
    other.write_bytes(b"")
    with pytest.raises(JournalTruncatedError):
        cloche.replay(other)


def test_journal_is_never_overwritten(tmp_path):
    """Recording to a file that exists is refused before anything runs."""
    path = tmp_path / "run.journal"
    path.write_bytes(b"mine")
    calls = []
    with pytest.raises(JournalExistsError):
        start("tools.it()", "python", tools={"it": lambda: calls.append(1)}, record=path)
    assert (path.read_bytes(), calls) == (b"mine", [])


def test_replay_needs_no_tools_and_no_time(tmp_path, monkeypatch):
    """A wait of a recorded tool is not waited for again; the virtual clock moves all the same."""
    code = "import time\na = time.time()\ntools.it()\nprint(time.time() - a >= 3600)"
    path, hour_ms = tmp_path / "run.journal", 3_600_000
    with monkeypatch.context() as patched:
        clock = stop_clock(patched)
        tools = {"it": lambda: clock.pass_ms(hour_ms)}
        start(code, "python", tools=tools, record=path, limits=small(timeout_ms=2 * hour_ms))
    assert cloche.replay(path).result.run.stdout == "True\n"


IMPOSSIBLE = (
    {"code": b"\xff"},
    {"language": "ruby"},
    {"limits": b"[]"},
    {"limits": b'{"guests":{"timeout_ms":0}}'},
    {"limits": b'{"nope":{}}'},
    {"policy": b'"nope"'},
    {"policy": b'{"tool":{"allow":3}}'},
    {"cwd": "x"},
    {"args": ("a\0",)},
    {"env": (("", "1"),)},
    {"filename": "a\0"},
)
OUTCOME = RunOutcome(
    exit_code=0,
    stage="run",
    stdout_sha256="0" * 64,
    stderr_sha256="0" * 64,
    files_sha256="0" * 64,
    clock_ns=1,
)


def test_hostile_journal_is_an_error(tmp_path):
    """A file that is a valid chain but says nonsense is a typed error, not a crash."""
    good = start("print(1)", "python", record=tmp_path / "good", now_ns=NOW_NS)
    inputs = read_journal(tmp_path / "good").inputs
    assert good.exit_code == 0
    for number, changes in enumerate(IMPOSSIBLE):
        gate = Gate(Policy(), Limits())
        gate.started(RunInputs(**{**msgspec.structs.asdict(inputs), **changes}))
        gate.finish(OUTCOME)
        path = tmp_path / str(number)
        path.write_bytes(encode_file(gate.take_entries()))
        with pytest.raises(cloche.ClocheError) as caught:
            cloche.replay(path)
        assert not isinstance(caught.value, DivergenceError), changes
