"""Tests of requests, identities, keys and completions."""

from __future__ import annotations

import pytest

from cloche.gate.effect import (
    EffectCompletion,
    EffectError,
    EffectIdentity,
    EffectRequest,
    idempotency_key,
)


def make_request(**changes):
    """Return a request; every field has a value of its own."""
    fields = {
        "sequence": 5,
        "task": "main",
        "ordinal": 3,
        "kind": "tool",
        "target": "add",
        "args": {"b": 1, "a": 2.0},
    }
    return EffectRequest(**{**fields, **changes})


def test_identity_names_place_and_digest():
    """The identity holds task, ordinal, kind, target and the digest of the args, no sequence."""
    request = make_request()
    assert request.identity == EffectIdentity("main", 3, "tool", "add", request.args_digest)
    assert make_request(sequence=9).identity == request.identity


def test_args_digest_ignores_order_of_keys_and_source_of_text():
    """The digest is that of the canonical text, whether the text is given or made."""
    request = make_request()
    assert make_request(args={"a": 2.0, "b": 1}).args_digest == request.args_digest
    assert make_request(args_text=b'{"a":2.0,"b":1}').args_digest == request.args_digest
    assert make_request(args={"a": 2, "b": 1}).args_digest != request.args_digest


def test_key_is_stable():
    """The key of a request never changes between versions (a pinned value)."""
    key = idempotency_key("run-1", make_request())
    assert key == "11f2b540ca943b3757c7688142054ddc0e3507f076f67a844854c6cab1b787f0"
    assert idempotency_key("run-1", make_request(sequence=9)) == key


@pytest.mark.parametrize(
    "changes",
    [{"task": "other"}, {"ordinal": 4}, {"kind": "http"}, {"target": "sub"}, {"args": {}}],
)
def test_key_depends_on_identity(changes):
    """Every part of the identity changes the key."""
    assert idempotency_key("r", make_request(**changes)) != idempotency_key("r", make_request())


def test_key_parts_do_not_run_together():
    """Moving a letter from one part to the next gives another key."""
    left = idempotency_key("ra", make_request(task="b"))
    assert idempotency_key("r", make_request(task="ab")) != left


@pytest.mark.parametrize(
    "fields", [{}, {"value_text": b"1", "error": EffectError(code="X", message="x")}]
)
def test_completion_has_value_or_error(fields):
    """A completion with neither or both is refused."""
    with pytest.raises(ValueError, match=r"^a completion has either a value or an error$"):
        EffectCompletion(sequence=0, **fields)


def test_reply_to_guest():
    """A guest gets the exact text of the value, or the error; with an id where it gave one."""
    value = EffectCompletion(sequence=0, value_text=b'{"z":1,"a":1.0}')
    assert value.to_guest() == b'{"value":{"z":1,"a":1.0}}'
    assert value.to_guest(id_text=b"7") == b'{"id":7,"value":{"z":1,"a":1.0}}'
    assert value.value == {"z": 1, "a": 1.0}
    error = EffectCompletion(
        sequence=0, error=EffectError(code="X", message="no", retryable=True, retry_after_ms=5)
    )
    assert error.to_guest() == (
        b'{"error":{"code":"X","message":"no","retryable":true,"retry_after_ms":5}}'
    )
    assert error.value is None


@pytest.mark.parametrize(
    "change",
    [
        {"code": 5},
        {"message": None},
        {"retryable": 1},
        {"retry_after_ms": -1},
        {"retry_after_ms": 1.5},
        {"retry_after_ms": True},
        {"retry_after_ms": 1 << 63},
    ],
)
def test_errors_are_checked(change):
    """An error that no journal could hold is refused when it is made."""
    with pytest.raises(ValueError, match=r"^an error has a code and a message"):
        EffectError(**{"code": "X", "message": "x", **change})
