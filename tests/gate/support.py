"""Helpers of the gate tests: limits with changed fields, inputs, outcomes, a recorded run."""

from __future__ import annotations

from cloche.gate.entries import InputFile, RunInputs, RunOutcome
from cloche.gate.gate import Gate, Perform
from cloche.gate.journal import encode_file
from cloche.gate.policy import Policy
from cloche.limits import Limits

ZERO_SHA256 = "0" * 64


def make_limits(**gate):
    """Return limits with these fields of the gate group changed."""
    limits = Limits()
    return limits.replace({"gate": gate})


def make_inputs(**changes):
    """Return small inputs that use every field."""
    fields = {
        "language": "javascript",
        "image_id": "javascript-1",
        "filename": "main.js",
        "code": b"tools.add(1, 2)",
        "files": (
            InputFile(path="/a.txt", content=b"aaa", read_only=True),
            InputFile(path="/b.txt", content=b""),
            InputFile(path="/copy.txt", content=b"aaa"),
        ),
        "args": ("main.js", "-v"),
        "env": (("LANG", "C"), ("A", "1")),
        "stdin": b"line\n",
        "cwd": "/work",
        "seed": 7,
        "now_ns": 1_700_000_000_000_000_000,
        "limits": b'{"gate":{}}',
        "policy": b'{"tool":{"allow":["add"]}}',
        "world": "fixture",
    }
    return RunInputs(**{**fields, **changes})


def make_outcome(**changes):
    """Return the outcome of a run that ended well."""
    fields = {
        "exit_code": 0,
        "stage": "run",
        "stdout_sha256": ZERO_SHA256,
        "stderr_sha256": ZERO_SHA256,
        "files_sha256": ZERO_SHA256,
        "clock_ns": 1_700_000_000_000_000_000,
    }
    return RunOutcome(**{**fields, **changes})


def call(gate, target="add", args=None, *, value=None, error=None, duration_ns=5, kind="tool"):
    """Do one synchronous effect the way a host does; return the completion."""
    verdict = gate.request(kind, target, args)
    if gate.replaying:
        delivery = gate.next_delivery()
        (completion,) = delivery.completions
        gate.deliver(delivery.sequences, delivery.clock_advance_ns)
        return completion
    if isinstance(verdict, Perform):
        completion = gate.complete(
            verdict.request, value=value, error=error, duration_ns=duration_ns
        )
    else:
        completion = verdict.completion
    gate.deliver((completion.sequence,), completion.duration_ns)
    return completion


TOOLS = Policy.allow(tool=["add", "fs.*"])


def small_run():
    """Return the records of one small run: a value, an error, a refusal."""
    gate = Gate(TOOLS, make_limits())
    gate.started(make_inputs())
    call(gate, "add", [1, 2], value=3)
    call(gate, "fs.read", {"path": "/x"}, value={"text": "é", "size": 1.0})
    call(gate, "rm", {})
    gate.finish(make_outcome())
    return gate.take_entries()


def small_file():
    """Return the journal file of `small_run`."""
    return encode_file(small_run())
