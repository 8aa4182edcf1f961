"""What requests and answers about apps look like as JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cloche.apps.kinds import Action, Level  # noqa: TC001 - msgspec reads them
from cloche.server.documents import Answer, Body


class AppDocument(Answer, frozen=True, kw_only=True):
    """An app: what answers for it. Of its environment the names alone."""

    name: str
    live: str
    canary: str
    share: int
    hosts: list[str]
    prefixes: list[str]
    env: list[str]
    stopped: bool
    created_ms: int
    changed_ms: int
    url: str
    requests: int = 0
    failures: int = 0
    running: int = 0
    mean_ms: float | None = None


class AppList(Answer, frozen=True, kw_only=True):
    """The apps of a tenant in the order of their names."""

    items: list[AppDocument]


class VersionDocument(Answer, frozen=True, kw_only=True):
    """One set of files of an app."""

    id: str
    number: int
    created_ms: int
    who: str
    file_count: int
    size_bytes: int
    state: Literal["live", "canary", "kept"]


class VersionList(Answer, frozen=True, kw_only=True):
    """The versions of an app that are kept, newest first."""

    items: list[VersionDocument]


class DeployDocument(Answer, frozen=True, kw_only=True):
    """What was deployed, and what its evaluation printed."""

    app: AppDocument
    version: VersionDocument
    printed: str


class RollbackBody(Body, frozen=True, kw_only=True):
    """Which version shall answer; the one that did before, when empty."""

    to: str = ""


class EnvBody(Body, frozen=True, kw_only=True):
    """Variables to be set, and to be removed."""

    set: dict[str, str] = msgspec.field(default_factory=dict)
    remove: list[str] = msgspec.field(default_factory=list)


class ActionDocument(Answer, frozen=True, kw_only=True):
    """Something that was done to an app."""

    ordinal: int
    action: Action
    who: str
    at_ms: int
    version: str
    detail: str


class ActionList(Answer, frozen=True, kw_only=True):
    """What was done to an app, newest first."""

    items: list[ActionDocument]


class LogDocument(Answer, frozen=True, kw_only=True):
    """A line of an app's log."""

    at_ms: int
    level: Level
    message: str
    fields: dict[str, Any]
    request: str
    version: str


class LogList(Answer, frozen=True, kw_only=True):
    """Lines of an app's log, oldest first."""

    items: list[LogDocument]


class RequestDocument(Answer, frozen=True, kw_only=True):
    """A recorded request. `code` is of what went wrong, empty when nothing did."""

    id: str
    version: str
    kind: str
    method: str
    target: str
    status: int
    code: str
    created_ms: int
    duration_ms: float


class RequestList(Answer, frozen=True, kw_only=True):
    """Recorded requests of an app, newest first."""

    items: list[RequestDocument]


class RequestReplayDocument(Answer, frozen=True, kw_only=True):
    """A replay that came to the same bytes; another one is an error."""

    id: str
    same: bool
    status: int
    body_bytes: int
