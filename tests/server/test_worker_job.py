"""What a worker tells is told in its order, and with few sends where more is to be done."""

from __future__ import annotations

import socket

import pytest

from cloche.server import worker_frames as frames
from cloche.server import worker_job
from cloche.server.worker_job import Connection

LIMIT_BYTES = 1 << 20


@pytest.fixture
def ends():
    """Return the connection of a worker and the server's end of it."""
    server, theirs = socket.socketpair()
    with server, theirs:
        yield Connection(theirs, LIMIT_BYTES), server


def asked(server, count):
    """Send so many frames at once."""
    ping = frames.encode(frames.Ping(job=0), LIMIT_BYTES)
    server.sendall(ping * count)


def told(server):
    """Return the numbers of the jobs whose frames have arrived."""
    buffer = frames.FrameBuffer(LIMIT_BYTES)
    try:
        data = server.recv(LIMIT_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return []
    return [frames.decode_from_worker(body).job for body in buffer.feed(data)]


def test_the_end_of_a_job_waits_for_those_that_are_there_too(ends, monkeypatch):
    """While more is to be done nothing is sent; with the last one all is, in order."""
    monkeypatch.setattr(worker_job.time, "monotonic", lambda: 0.0)
    connection, server = ends
    asked(server, 3)
    for number in (1, 2):
        connection.read()
        connection.tell(frames.Done(job=number))
        assert told(server) == []
    connection.read()
    connection.tell(frames.Done(job=3))
    assert told(server) == [1, 2, 3]


def test_it_waits_for_a_moment_alone(ends, monkeypatch):
    """When that is over it is sent, whatever is to be done still."""
    now_s = [5.0]
    monkeypatch.setattr(worker_job.time, "monotonic", lambda: now_s[0])
    connection, server = ends
    asked(server, 3)
    connection.read()
    connection.tell(frames.Done(job=1))
    now_s[0] += worker_job._TELLING_PAUSE_S
    connection.tell(frames.Done(job=2))
    assert told(server) == [1, 2]


@pytest.mark.parametrize("way", ["flush", "send"])
def test_what_waits_goes_before_what_is_said_next(ends, monkeypatch, way):
    """Another frame, or a job that takes a while, takes along what was not told yet."""
    monkeypatch.setattr(worker_job.time, "monotonic", lambda: 0.0)
    connection, server = ends
    asked(server, 2)
    connection.read()
    connection.tell(frames.Done(job=1))
    if way == "flush":
        connection.flush()
        assert told(server) == [1]
    else:
        connection.send(frames.Done(job=2))
        assert told(server) == [1, 2]


def test_who_waits_for_work_has_told_everything(monkeypatch):
    """Before it waits for the next frame, a worker sends what it held."""
    monkeypatch.setattr(worker_job.time, "monotonic", lambda: 0.0)
    done = []

    class Socket:
        def recvmsg(self, *_sizes):
            done.append("read")
            return frames.encode(frames.Ping(job=0), LIMIT_BYTES) * 2, [], 0, None

        def sendall(self, data):
            (body,) = frames.FrameBuffer(LIMIT_BYTES).feed(data)
            done.append(frames.decode_from_worker(body).job)

    connection = Connection(Socket(), LIMIT_BYTES)
    connection.read()
    connection.tell(frames.Done(job=1))
    connection.read()  # not a job: nothing is told for it
    assert done == ["read"]
    connection.read()
    assert done == ["read", 1, "read"]


@pytest.mark.parametrize("way", ["send", "tell", "flush"])
def test_one_thread_sends(monkeypatch, way):
    """Whatever is sent is sent by one thread at a time, so that no frame is within another."""
    monkeypatch.setattr(worker_job.time, "monotonic", lambda: 0.0)
    is_alone = []

    class Socket:
        def recvmsg(self, *_sizes):
            return frames.encode(frames.Ping(job=0), LIMIT_BYTES) * 2, [], 0, None

        def sendall(self, _data):
            is_alone.append(connection._sending.locked())

    connection = Connection(Socket(), LIMIT_BYTES)
    if way == "flush":
        connection.read()
        connection.tell(frames.Done(job=1))
        assert is_alone == []
        connection.flush()
    else:
        getattr(connection, way)(frames.Done(job=1))
    assert is_alone == [True]
