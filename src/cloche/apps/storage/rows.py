"""What the storage of apps keeps: the rows that cross its port.

Times are integers, nanoseconds of the Unix epoch. An app is named by one text, `app`: its tenant,
a slash, its id; see `app_name`. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from cloche.apps.storage.values import check_name

JobState = Literal["pending", "running", "done", "failed", "cancelled"]
Section = Literal["kv", "docs", "blobs", "jobs"]

JOB_ENDED: Final[frozenset[JobState]] = frozenset({"done", "failed", "cancelled"})
APP_PART_BYTES: Final = 100
NAMES_KEPT: Final = 1024  # every request asks for that of its app


@lru_cache(maxsize=NAMES_KEPT)
def app_name(app_id: str, tenant: str = "") -> str:
    """Return what names an app in every table.

    Raises:
        StorageArgumentsError: a part is too long, empty, or the tenant has a slash: with one, two
            different apps could have the same name.
    """
    check_name("app", app_id, APP_PART_BYTES)
    if tenant:
        check_name("tenant", tenant.replace("/", "\0"), APP_PART_BYTES)
    return f"{tenant}/{app_id}"


def app_parts(app: str) -> tuple[str, str]:
    """Return the tenant and the id in the name of an app."""
    tenant, _, app_id = app.partition("/")
    return tenant, app_id


def pin_holder(app: str, path: str) -> str:
    """Return who holds the content of a path: of any length, and of nobody else."""
    return "app-" + hashlib.sha256(f"{app}\0{path}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a section of an app holds. `sequence` counts its writes, and never goes back."""

    count: int = 0
    size_bytes: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KvRow:
    """One key. `version` is the sequence of the write that made it: never used twice."""

    key: str
    value: bytes
    version: int
    expires_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocRow:
    """One document: JSON, without what the host gives.

    `keys_bytes` is the size of its entries in indexes.
    """

    collection: str
    id: str
    data: bytes
    created_ns: int
    updated_ns: int
    keys_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRow:
    """One path, and what is there: a blob of the store."""

    path: str
    sha256: str
    size_bytes: int
    mime: str
    updated_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job.

    Args:
        id: given by the host; newer ones are greater.
        name: what the app calls it.
        data: JSON that the app gave.
        due_ns: not before; of a running job when its attempt began.
        schedule: whether a schedule made it, at `due_ns`.
        retry_count: attempts after the first that the app asked for.
        attempt: how many were begun.
        lost: how many of them ended with their process.
        lease_owner: who runs it, until `lease_until_ns`.
        unique_key: no other job of the app that has not ended has it.
        is_cancelled: whether it was asked to stop.
        error: why the last attempt failed.
        result: JSON that the last attempt returned.
    """

    id: str
    name: str
    data: bytes = b"null"
    state: JobState = "pending"
    schedule: bool = False
    priority: int = 0
    created_ns: int
    due_ns: int
    ended_ns: int | None = None
    retry_count: int = 0
    backoff_ms: int = 1000
    timeout_ms: int | None = None
    attempt: int = 0
    lost: int = 0
    lease_owner: str | None = None
    lease_until_ns: int | None = None
    unique_key: str | None = None
    is_cancelled: bool = False
    progress: float = 0.0
    checkpoint: bytes | None = field(default=None, repr=False)
    result: bytes | None = field(default=None, repr=False)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One schedule of an app, and when it is due next."""

    name: str
    cron: str
    next_ns: int
