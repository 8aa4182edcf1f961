"""Frames between server and worker: their bytes, their sizes, their errors, their requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.vfs import StoredFile
from cloche.exec.api import make_request
from cloche.exec.errors import (
    FileAccessError,
    RuntimeFailedError,
    SessionImageError,
    WorkerLostError,
)
from cloche.gate.policy import Policy
from cloche.limits import Limits
from cloche.server import worker_frames as frames
from cloche.server.worker_errors import ErrorFrame, error_frame, error_of
from cloche.server.worker_frames import (
    Cancel,
    FrameBuffer,
    FrameTooLargeError,
    Output,
    decode_from_worker,
    decode_to_worker,
    encode,
    request_frame,
    request_of_frame,
)

LIMIT = 1 << 20


@given(texts=st.lists(st.binary(max_size=300), max_size=8), cut=st.integers(1, 50))
def test_any_pieces(texts, cut):
    """Frames come out whole and in order however their bytes are cut."""
    sent = [Output(job=n, stream="stdout", data=data) for n, data in enumerate(texts)]
    stream = b"".join(encode(frame, LIMIT) for frame in sent)
    buffer = FrameBuffer(LIMIT)
    found = []
    for start in range(0, len(stream), cut):
        found += buffer.feed(stream[start : start + cut])
    assert [decode_from_worker(body) for body in found] == sent


def test_too_large():
    """A frame over the limit is not sent, and one that comes is refused by its length alone."""
    frame = Output(job=1, stream="stdout", data=b"x" * 1000)
    with pytest.raises(FrameTooLargeError, match="at most 500 are let through"):
        encode(frame, 500)
    with pytest.raises(FrameTooLargeError):
        FrameBuffer(500).feed((501).to_bytes(4, "little"))


def test_directions():
    """What a worker may say is no word of the server, and the other way round."""
    body = encode(Cancel(job=1), LIMIT)[4:]
    assert decode_to_worker(body) == Cancel(job=1)
    with pytest.raises(ValueError, match="Invalid value 5"):
        decode_from_worker(body)


@pytest.mark.parametrize(
    "error",
    [
        FileAccessError("/a", "NOENT"),
        RuntimeFailedError("it failed", resource=None),
        SessionImageError("python", expected="a", found="b"),
        WorkerLostError("gone"),
    ],
)
def test_errors(error):
    """An error is the same on the other side: class, message, fields."""
    again = error_of(error_frame(error))
    assert type(again) is type(error)
    assert again.to_document() == error.to_document()


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("cloche.errors", "Any"), ("builtins", "SystemExit")]
)
def test_no_other_class(module, name):
    """What is no error of cloche is not made, whatever a worker says."""
    assert type(error_of(ErrorFrame(module=module, name=name, message="m"))) is WorkerLostError


def test_requests():
    """A request is the same on the other side; limits that are there anyway are not told."""
    base = Limits()
    for limits in (base, base.replace({"guests": {"timeout_ms": 7}})):
        request = make_request(
            "print(1)",
            language="python",
            files=[StoredFile(path="/a", content=b"\0\xff", read_only=True)],
            args=["x"],
            env={"A": "b"},
            stdin=b"\xff",
            limits=limits,
            policy=Policy.allow(tool=["send"]).and_deny(tool=["drop"]),
            seed=(1 << 64) - 1,
        )
        frame = request_frame(request, base)
        assert (frame.limits == b"") == (limits is base)
        sent = encode(frames.Run(job=1, options=frames.RunOptions(request=frame)), LIMIT)
        assert request_of_frame(decode_to_worker(sent[4:]).options.request, base) == request
