"""The program behind `tests/replay/journal-v1.cloche`, with every kind of entry in it.

The golden file is never written again: readers of version 1 must read it for ever. For a change of
this program, make a second file. In `tests`,
`python -m gate.golden FILE` writes one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloche.gate.effect import EffectError
from cloche.gate.gate import Gate, Perform
from cloche.gate.journal import encode_file
from cloche.gate.policy import Policy
from gate.support import make_inputs, make_limits, make_outcome

POLICY = (
    Policy.allow(tool=["add", "fs.*"], http=["https://example.org/*"])
    .and_ask(tool=["pay"], who="ann")
    .and_deny(tool=["fs.delete"])
)
LIMITS = make_limits(effect_concurrency_max=2, args_limit_bytes=100)

REQUESTS = (
    ("tool", "add", [1, 2.0, 2**70, -0.0], "main"),
    ("http", "https://example.org/é", {"b": None, "a": [True, {}]}, "t1"),
    ("tool", "fs.read", {"path": "/x"}, "t1"),  # refused: two are in flight
    ("tool", "pay", {}, "main"),
    ("tool", "fs.delete", {}, "main"),
    ("tool", "rm", {}, "main"),
    ("Bad", "", "x" * 200, "main"),
)


def inputs():
    """Return the inputs of the golden run."""
    return make_inputs(
        language="python",
        filename="main.py",
        code="print('é')\n".encode(),
        seed=2**64 - 1,
        policy=b'{"tool":{"allow":["add","fs.*"],"ask":["pay"]}}',
    )


def outcome():
    """Return the end of the golden run."""
    return make_outcome(
        exit_code=124, error={"code": "TIMEOUT", "limit": "guests.timeout_ms"}, clock_ns=10**18
    )


def record():
    """Run the program live; return the bytes of its journal."""
    gate = Gate(POLICY, LIMITS)
    gate.started(inputs())
    verdicts = [
        gate.request(kind, target, args, task=task) for kind, target, args, task in REQUESTS
    ]
    running = [verdict.request for verdict in verdicts if isinstance(verdict, Perform)]
    gate.deliver((2, 3), 0)
    gate.complete(running[1], value={"z": 1.5e300, "a": ["\U0001f600\x00\u2028"]}, duration_ns=70)
    gate.deliver((), 1_000_000)
    gate.complete(
        running[0],
        error=EffectError(code="IO", message="busy", retryable=True, retry_after_ms=250),
        duration_ns=10**10,
    )
    gate.deliver((0, 1, 6, 4), 10**10)
    gate.request("tool", "add", None)  # never complete, never delivered
    gate.close("TIMEOUT")
    gate.finish(outcome())
    return encode_file(gate.take_entries())


def replay(journal, limits=LIMITS):
    """Run the program again from its journal; return its bytes."""
    gate = Gate(POLICY, limits, replay=journal)
    gate.started(inputs())
    for kind, target, args, task in REQUESTS:
        gate.request(kind, target, args, task=task)
    while (delivery := gate.next_delivery()) is not None:
        gate.deliver(delivery.sequences, delivery.clock_advance_ns)
    gate.request("tool", "add", None)
    gate.finish(outcome())
    return encode_file(gate.take_entries())


if __name__ == "__main__":
    with Path(sys.argv[1]).open("xb") as file:
        file.write(record())
