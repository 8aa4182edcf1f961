"""What the code of an app asks of its host: arguments that are none, and limits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cloche.apps.adapters.effects import AppEffects
from cloche.limits import Limits

LIMITS = Limits()
PIECE_BYTES = LIMITS.apps.request_piece_limit_bytes


def ask(effects, target, args):
    """Perform an effect."""
    return effects.perform(SimpleNamespace(target=target, args=args), "run")


class Body:
    """A body that notes how much of it was asked for."""

    def __init__(self):
        self.wanted = []

    def read(self, limit_bytes):
        """Return a byte."""
        self.wanted.append(limit_bytes)
        return b"x"


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ({"max_bytes": 10}, 10),
        ({"max_bytes": PIECE_BYTES + 1}, PIECE_BYTES),
        ({"max_bytes": 0}, PIECE_BYTES),
        ({"max_bytes": -1}, PIECE_BYTES),
        ({"max_bytes": True}, PIECE_BYTES),
        ({"max_bytes": "10"}, PIECE_BYTES),
        ({}, PIECE_BYTES),
        (None, PIECE_BYTES),
    ],
)
def test_how_much_of_a_body_is_read(args, wanted):
    """As much as is asked for, at least a byte and at most a piece."""
    body = Body()
    answer = SimpleNamespace()
    effects = AppEffects(answer, LIMITS, body=body)
    assert ask(effects, "request.read", args) == {"b64": "eA=="}
    assert body.wanted == [wanted]


@pytest.mark.parametrize(
    ("level", "logged"),
    [("debug", "debug"), ("error", "error"), ("loud", "info"), (None, "info"), (7, "info")],
)
def test_levels_of_the_log(level, logged):
    """A level that is none is info."""
    lines = []
    log = SimpleNamespace(log=lambda *line: lines.append(line))
    effects = AppEffects(None, LIMITS, log=log)
    ask(effects, "log", {"level": level, "message": "m", "fields": {"a": 1}})
    assert lines == [(logged, "m", {"a": 1})]


@pytest.mark.parametrize(
    ("after_ms", "after_s"),
    [(1001, 2), (0, 1), (-5, 1), (True, 1), ("9000", 1), (None, 1), (10**12, 3600)],
)
def test_when_to_ask_again(after_ms, after_s):
    """In whole seconds, from one to an hour."""
    effects = AppEffects(None, LIMITS)
    ask(effects, "retry", {"retry_after_ms": after_ms})
    assert effects.retry_after_s == after_s
