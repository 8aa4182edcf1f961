"""What a session is, as data: its settings, the operations that made it, the names of its states.

Pure. A session's state is the result of its settings and of every operation since, in order; each
state has a name, the digest of all that led to it, so two sessions in equal states have equal names
and a run says on which state it stands. Invariants:
- an operation is an upload, a removal, a change of directory, a mount or a run; a run that was
  stopped changed nothing, its state is the one before;
- the same settings and operations give the same names, on any machine.

It does not execute (see `adapters/session_machine.py`) and keeps nothing (see the store).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from collections.abc import Callable

STATE_FORMAT: Final = b"cloche session state v1"
SEED_BYTES: Final = 8
# A tail of operations is replayed on waking; beyond this many a snapshot is cheaper to keep.
TAIL_COUNT_MAX: Final = 64
# Writing a snapshot costs about this much time for each byte of it, and this much in any case.
SNAPSHOT_BASE_MS: Final = 5.0
SNAPSHOT_BYTES_PER_MS: Final = 100_000
# Repeating an operation takes this long at least: to read it, its journal, and to begin.
REPEAT_BASE_MS: Final = 1.0


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a session was created with; it never changes.

    Args:
        language: "javascript", "typescript" or "python".
        image: name of its image.
        image_id: the start state.
        seed: 64 bits; all its randomness comes from it.
        now_ns: start of its clock.
        limits: overrides, as given, for every run: JSON.
        policy: for every run that brings none of its own: JSON; empty where none was given, and a
            run may then use the tools that it is given, and nothing else.
        repeat_in_flight: whether an effect whose outcome is unknown after a crash is performed
            again, with the same key; else its run is interrupted.
    """

    language: str
    image: str
    image_id: str
    seed: int
    now_ns: int
    limits: dict[str, dict[str, int]] = {}
    policy: bytes = b""
    repeat_in_flight: bool = True


class Upload(msgspec.Struct, frozen=True, kw_only=True, tag="upload"):
    """The host put a file in place. The content is a blob, named by its SHA-256."""

    path: str
    sha256: str
    size_bytes: int
    read_only: bool = False


class Remove(msgspec.Struct, frozen=True, kw_only=True, tag="remove"):
    """The host removed a file."""

    path: str


class ChangeDirectory(msgspec.Struct, frozen=True, kw_only=True, tag="cd"):
    """The host changed where runs start."""

    path: str


class Mounted(msgspec.Struct, frozen=True, kw_only=True, tag="mount"):
    """The host put a picture of a folder in place (see `mounts.py`), over an earlier one.

    The picture is a blob, named by its SHA-256.
    """

    path: str
    sha256: str
    size_bytes: int
    writable: bool = False


class Ran(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """A run changed the state. Its journal is kept under its run id.

    `time_ms` is how long it took, to weigh replaying it against keeping a snapshot.
    """

    run_id: str
    journal_hash: str
    time_ms: int = 0


Operation: TypeAlias = Upload | Remove | ChangeDirectory | Mounted | Ran


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An operation in its place: the ordinal counts from 1, `state` is what it led to."""

    ordinal: int
    operation: Operation
    state: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session is.

    Args:
        ordinal: of the last operation.
        state: its name.
        cwd: where runs start.
        snapshot: digest of the newest snapshot's blob, None before the first.
        snapshot_ordinal: the operation that it was taken after; 0 is the start state.
    """

    ordinal: int = 0
    state: str
    cwd: str = "/"
    snapshot: str | None = None
    snapshot_ordinal: int = 0


def first_head(settings: SessionSettings) -> Head:
    """Return the head of a session that nothing has happened to."""
    start = msgspec.msgpack.encode((settings.image_id, settings.seed, settings.now_ns))
    return Head(state=hashlib.sha256(STATE_FORMAT + start).hexdigest())


def advance(head: Head, operation: Operation) -> tuple[Head, Step]:
    """Return the head after one more operation, and the step to keep."""
    state = hashlib.sha256(bytes.fromhex(head.state) + _identity(operation)).hexdigest()
    step = Step(ordinal=head.ordinal + 1, operation=operation, state=state)
    cwd = operation.path if isinstance(operation, ChangeDirectory) else head.cwd
    return msgspec.structs.replace(head, ordinal=step.ordinal, state=state, cwd=cwd), step


def _identity(operation: Operation) -> bytes:
    # A run is named by what it did; its id and its duration are accidents.
    if isinstance(operation, Ran):
        return b"run" + bytes.fromhex(operation.journal_hash)
    return msgspec.msgpack.encode(operation)


def content_of(operation: Operation) -> str | None:
    """Return the digest of the content that an operation brings, None if it brings none."""
    return operation.sha256 if isinstance(operation, Upload | Mounted) else None


def run_seed(settings: SessionSettings, head: Head) -> int:
    """Return the seed of the next run: from the session's seed and the state it starts from."""
    material = settings.seed.to_bytes(SEED_BYTES, "big") + bytes.fromhex(head.state)
    return int.from_bytes(hashlib.sha256(material).digest()[:SEED_BYTES], "big")


def snapshot_is_due(tail: list[Step], size_bytes: Callable[[], int]) -> bool:
    """Return whether keeping a snapshot now costs less than replaying the tail on waking.

    Args:
        tail: the steps since the last snapshot.
        size_bytes: tells what a snapshot would hold, before compression; asked for only when
            the tail alone does not say.
    """
    if len(tail) >= TAIL_COUNT_MAX:
        return True
    replay_ms = sum(step.operation.time_ms for step in tail if isinstance(step.operation, Ran))
    if replay_ms <= SNAPSHOT_BASE_MS:
        return False
    return replay_ms > SNAPSHOT_BASE_MS + size_bytes() / SNAPSHOT_BYTES_PER_MS


def sleep_is_cheap(tail: list[Step]) -> bool:
    """Return whether a session may sleep without a snapshot: its tail is repeated at once.

    A session that is used once in a while, a little each time, then costs no snapshot each time;
    when what is to be repeated has grown to what a snapshot costs, one is kept. Nobody waits for a
    session that goes to sleep, so the size of the snapshot is of no account here.
    """
    runs_ms = sum(step.operation.time_ms for step in tail if isinstance(step.operation, Ran))
    return len(tail) * REPEAT_BASE_MS + runs_ms <= SNAPSHOT_BASE_MS


def normal_path(path: str, cwd: str = "/") -> str:
    """Return an absolute path without `.`, `..` and empty parts; it never leaves the root.

    Raises:
        InvalidRunError: empty, or with NUL, or no valid Unicode.
    """
    if not path or "\0" in path:
        raise InvalidRunError(f"{path!r} is no path; it must be non-empty and hold no NUL")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidRunError(f"{path!r} is no path: it is not valid Unicode") from None
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{cwd}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
