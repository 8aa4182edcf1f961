"""What a worker tells of an app's effects, and what it asks for."""

from __future__ import annotations

import pytest

from cloche.gate.effect import EffectRequest
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.server import worker_apps
from cloche.server import worker_frames as frames
from cloche.server.worker_apps import AppHandler
from cloche.server.worker_job import Job, Streams

LINE = {"level": "info", "message": "x", "fields": {}}
WHOLE = {"status": 200, "headers": [], "body": "x"}


class Server:
    """Hears what is sent, and answers each question with null."""

    def __init__(self):
        self.heard = []

    def send(self, frame):
        self.heard.append(frame)
        if isinstance(frame, frames.Effect):
            answer = frames.Answer(job=1, question=frame.question, kind="value", data=b"null")
            self.job.take(answer)


@pytest.fixture
def app():
    """Return what performs the effects of an app, and what says what the server heard of them."""
    server = Server()
    job, streams = Job(server, 1), Streams(server)
    server.job = job
    handler = AppHandler(job, streams, Limits(), ["log", "respond"])

    def perform(target, args):
        handler.perform(
            EffectRequest(sequence=0, task="main", ordinal=0, kind="app", target=target, args=args),
            "r",
        )

    def heard():
        streams.flush(job)
        return [
            ("told", each.stream) if isinstance(each, frames.Output) else ("asked", each.target)
            for each in server.heard
        ]

    return handler, perform, heard


def test_what_is_told_goes_before_what_is_asked(app):
    """A line of the log that was written before a question is there before it."""
    _, perform, heard = app
    perform("log", LINE)
    perform("respond.start", {"status": 200})
    perform("log", LINE)
    assert heard() == [("told", "log"), ("asked", "respond.start"), ("told", "log")]


@pytest.mark.parametrize("first", ["respond", "respond.start"])
def test_the_second_response_is_asked_for(app, first):
    """Only the server can say what is wrong with it, so the app hears that."""
    handler, perform, heard = app
    perform(first, WHOLE)
    assert handler.is_well == (first == "respond")
    perform("respond", WHOLE)
    assert heard()[1:] == [("asked", "respond")]
    assert handler.is_well


def test_a_wrong_response(app):
    """What is wrong with a response is the app's to hear; the next one may be right."""
    handler, perform, heard = app
    with pytest.raises(EffectFailure):
        perform("respond", {"status": "no"})
    assert not handler.is_well
    perform("respond", WHOLE)
    assert heard() == [("told", "respond")]


@pytest.mark.parametrize(
    "args",
    [
        None,
        {},
        {"message": 1},
        {"message": "x", "fields": []},
    ],
)
def test_a_wrong_line(app, args):
    """What is no line of a log is asked for, so that the app hears of it."""
    _, perform, heard = app
    perform("log", args)
    assert heard() == [("asked", "log")]


@pytest.mark.parametrize(("more", "way"), [(0, "told"), (1, "asked")])
def test_a_large_one_is_asked_for(app, more, way):
    """Who writes much waits until it was taken."""
    _, perform, heard = app
    most = worker_apps._TOLD_BYTES + more
    perform("log", {"message": "x" * (most - len('{"message":""}'))})
    perform("respond", {"body": "x" * (most - len('{"body":"","status":200}')), "status": 200})
    assert heard() == [(way, "log"), (way, "respond")]


@pytest.mark.parametrize("target", ["respond.end", "return", "socket.accept"])
def test_what_an_app_is_for(app, target):
    """Who ended its response, returned its value or took the socket did what it was for."""
    handler, perform, _ = app
    perform("respond.start", {"status": 200})
    assert not handler.is_well
    perform(target, {})
    assert handler.is_well
