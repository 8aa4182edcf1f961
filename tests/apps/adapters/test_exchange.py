"""What a client is told of a run that failed: status, code, and when to come back."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from cloche.apps.adapters.exchange import Exchange
from cloche.apps.errors import AppRequestTooLargeError
from cloche.apps.messages import AppRequest, Collected
from cloche.errors import InternalError
from cloche.exec.adapters.runner import Execution
from cloche.exec.errors import (
    InternalExecError,
    ResourceExceededError,
    RunCancelledError,
    RuntimeFailedError,
    TimeoutExceededError,
    WorkerLostError,
)
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits

LIMITS = Limits()
BUILT = SimpleNamespace(limits=LIMITS, request=lambda *_args, **_options: None)


class TooLarge:
    """A body that turns out to be too large while it is read."""

    def read(self, limit_bytes):
        """Refuse."""
        raise AppRequestTooLargeError(limit_bytes=limit_bytes)


@pytest.fixture
def reply():
    """What the client gets."""
    return Collected()


def exchange_for(reply, body=b""):
    """Return an exchange of which nothing ran yet."""
    request = AppRequest(
        method="POST",
        target="/",
        lines=(),
        body=body,
        scheme="https",
        host="app.example",
        client="192.0.2.1",
    )
    return Exchange(BUILT, request, reply, None)


def finish(exchange, error):
    """Return what is said of a run that ended like this."""
    execution = Execution(
        run_id="r",
        language="javascript",
        result=None,
        error=error,
        exit_code=1,
        files=(),
        journal_hash=None,
        image="javascript",
    )
    return exchange.finish(execution)


def told(reply):
    """Return status, code and `retry-after` that a client got."""
    lines = dict(reply.lines)
    return reply.status, json.loads(reply.body)["error"]["code"], lines.get(b"retry-after")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (TimeoutExceededError, 504, "APP_TIMEOUT"),
        (ResourceExceededError, 500, "APP_LIMIT"),
        (RuntimeFailedError, 500, "APP_HANDLER_FAILED"),
        (InternalExecError, 500, "APP_HANDLER_FAILED"),
        (RunCancelledError, 500, "APP_HANDLER_FAILED"),
    ],
)
def test_how_a_run_ended_has_a_code_of_apps(reply, kind, status, code):
    """Clients read codes of apps; how runs end by themselves is for the app's log alone."""
    error = kind("it ended")
    ended = finish(exchange_for(reply), error)
    assert told(reply) == (status, code, None)
    assert (ended.status, ended.failure) == (status, error)


def test_a_handler_that_broke_at_a_body_that_is_too_large(reply):
    """It is the client's fault: 413, though what the run ended with is an error of the handler."""
    exchange = exchange_for(reply, TooLarge())
    with pytest.raises(EffectFailure):
        exchange.effects.perform(SimpleNamespace(target="request.read", args={}), "r")
    error = RuntimeFailedError("it was not caught")
    ended = finish(exchange, error)
    assert told(reply) == (413, "APP_REQUEST_TOO_LARGE", None)
    assert ended.failure is error


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (WorkerLostError("it ended"), (503, "WORKER_LOST", b"1")),
        (InternalError("it broke"), (500, "APP_HOST_FAILED", None)),
        (KeyboardInterrupt(), (500, "APP_HOST_FAILED", None)),
    ],
)
def test_a_host_that_failed(reply, error, found):
    """Where only the worker is lost the client is told to ask again; else it is the host's."""
    exchange_for(reply).break_off(error)
    assert told(reply) == found
    assert reply.is_whole
