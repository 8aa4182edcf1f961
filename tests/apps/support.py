"""Apps written in a line or two, and what they answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from cloche.apps.adapters.host import AppExecution, AppHost
from cloche.apps.bundle import bundle_of
from cloche.apps.manifest import find_manifest
from cloche.apps.messages import AppRequest, Collected
from cloche.exec.adapters.runner import Runner
from cloche.exec.api import default_runner
from cloche.limits import Limits

if TYPE_CHECKING:
    from cloche.apps.adapters.builder import BuiltApp

LIMITS = Limits().replace({"apps": {"request_timeout_ms": 20_000, "build_timeout_ms": 20_000}})
MAINS = {"javascript": "main.js", "typescript": "main.ts", "python": "main.py"}


@cache
def runner() -> Runner:
    """Return the runner of all tests here: instances are made fresh, as on a server."""
    return Runner(default_runner().images, pool_size=2)


def host(limits: Limits = LIMITS, **options: Any) -> AppHost:
    """Return a host."""
    return AppHost(runner(), limits, **options)


def parts(code: str, language: str = "javascript", files: dict[str, str] | None = None, **manifest):
    """Return (bundle, manifest) of an app with this entry module."""
    limits = manifest.pop("host_limits", LIMITS)
    content = {MAINS[language]: code, **(files or {})}
    content["cloche.app.json"] = json.dumps({"name": "test", **manifest})
    bundle = bundle_of({path: text.encode() for path, text in content.items()}, limits)
    return bundle, find_manifest(bundle, limits)


def build(code: str, language: str = "javascript", *, env=None, **manifest) -> BuiltApp:
    """Return a built app."""
    limits = manifest.get("host_limits", LIMITS)
    return host(limits).build(*parts(code, language, **manifest), env)


@dataclass
class Asked:
    """What a request brought: the execution, the response, the log, what was printed."""

    execution: AppExecution
    reply: Collected
    log: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    printed: str = ""

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def text(self) -> str:
        return self.reply.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.reply.body)

    def header(self, name: str) -> list[str]:
        """Return all values of a name."""
        return [v.decode("latin-1") for n, v in self.reply.lines if n == name.encode()]


class Log:
    """Keeps the lines of an app's log."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def log(self, level, message, fields) -> None:
        self.lines.append((level, message, dict(fields)))


def ask(
    built: BuiltApp,
    target: str = "/",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: Any = b"",
    reply: Any = None,
    on: AppHost | None = None,
    **options: Any,
) -> Asked:
    """Let an app answer one request."""
    lines = {"host": "app.example", **(headers or {})}
    request = AppRequest(
        method=method,
        target=target,
        lines=tuple((name.lower().encode(), value.encode()) for name, value in lines.items()),
        body=body,
        scheme="https",
        host="app.example",
        client="192.0.2.1",
    )
    reply, log, printed = reply or Collected(), Log(), bytearray()
    execution = (on or host()).handle(
        built,
        request,
        reply,
        log=log,
        on_output=lambda _stream, data: printed.extend(data),
        **options,
    )
    return Asked(execution, reply, log.lines, printed.decode())
