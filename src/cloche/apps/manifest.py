"""What a deployed folder says of itself: `cloche.app.json` or `cloche.app.toml`.

Pure. Owns the names and the ranges of everything a manifest may say. Invariants: an unknown name is
an error that names the nearest known one; what a manifest asks for never goes beyond the limits of
the host (`guests_of`); the manifest of an equal text is equal.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from cloche.apps.bundle import MANIFEST_NAMES, check_path
from cloche.apps.cron import parse_cron
from cloche.apps.errors import AppEnvironmentError, BundleError, ManifestError
from cloche.apps.hostnames import is_host_name
from cloche.egress.allowlist import TENANT_PREFIX, NetPolicy
from cloche.errors import ClocheError
from cloche.gate.policy import Policy
from cloche.limits import SPECIFICATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.apps.bundle import Bundle
    from cloche.limits import Limits

Language = Literal["javascript", "typescript", "python"]
Instances = Literal["fresh", "warm"]

STORAGE_KINDS: Final = ("kv", "docs", "blobs", "sql", "jobs")
APP_KIND: Final = "app"
DEFAULT_MAINS: Final = ("main.ts", "main.js", "main.mjs", "main.py", "index.ts", "index.js")
_SUFFIXES: Final[dict[str, Language]] = {
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".py": "python",
}
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PREFIX: Final = re.compile(r"/(?:[A-Za-z0-9._~-]+/?)*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_GUEST_MEMORY: Final = "guests.memory_limit_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When `scheduled` is called: a cron expression (UTC), and the name that its event has."""

    cron: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Which requests are recorded: a share from 0 to 1 of all, and those that fail."""

    sample: float = 0.0
    errors: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest. Made by `parse_manifest`.

    Args:
        name: of the app: lowercase letters, digits and hyphens, at most 63.
        main: path of the module with the handler; empty for an app of files alone.
        language: of `main`.
        instances: `fresh` (one per request) or `warm` (reused, one request at a time).
        image: to start from, by name; None for the one of the language.
        static_folder: whose files are served as they are; empty for none.
        static_fallback: file of that folder for what neither file nor handler answers; empty for
            none.
        hosts: names that the app answers, `*.` in front for all below.
        paths: prefixes that it answers, on every host.
        limits: fields of the group `guests` that are lower than those of the host.
        net: rules of outbound HTTP, as a document; None for no calls.
        env: default by name; None where who deploys must give a value.
        storage: kinds of storage that its code may use.
        schedules: when it is called without a request.
        record: what of it is recorded.
    """

    name: str
    main: str = ""
    language: Language = "javascript"
    instances: Instances = "fresh"
    image: str | None = None
    static_folder: str = ""
    static_fallback: str = ""
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    net: Any = None
    env: tuple[tuple[str, str | None], ...] = ()
    storage: tuple[str, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    record: Recording = field(default_factory=Recording)

    def policy(self) -> Policy:
        """Return what the app's code may do: answer, use the named storage, call by `net`."""
        allowed = Policy.allow(**dict.fromkeys((APP_KIND, *self.storage), ("*",)))
        return Policy(kinds=allowed.kinds, net=self.net)

    def environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        """Return the environment of the app: what was set, over the defaults, in order.

        Raises:
            AppEnvironmentError: a name without a value and without a default.
        """
        values = {**dict(self.env), **(env or {})}
        missing = sorted(name for name, value in values.items() if value is None)
        if missing:
            raise AppEnvironmentError(names=missing)
        return {name: str(values[name]) for name in sorted(values)}

    def for_tenant(self, tenant: str, *, allow_net: bool) -> Manifest:
        """Return this manifest with the lists and secrets that it names being those of a tenant.

        Args:
            tenant: what the egress calls it; empty for the one whose lists are the store's own.
            allow_net: whether apps may make outbound calls at all.

        Raises:
            ManifestError: it asks for calls and may not, or names lists of another tenant.
        """
        if self.net is None:
            return self
        if not allow_net:
            problem = "asks for outbound HTTP; serve with --allow-net to let apps have it"
            raise ManifestError(where="policy.net", problem=problem)
        net = NetPolicy.from_document(self.net)
        foreign = [scope for scope in net.scopes if scope.startswith(TENANT_PREFIX)]
        if foreign or net.tenant not in ("", tenant):
            named = ", ".join(foreign) or net.tenant
            problem = f"names lists of another tenant: {named}"
            raise ManifestError(where="policy.net", problem=problem)
        return replace(self, net={**self.net, "tenant": tenant}) if tenant else self

    def limits_of(self, limits: Limits, *, ready_bytes: int = 0) -> Limits:
        """Return the ceilings of one request: what the manifest asks for, within the host's.

        Args:
            limits: of the host.
            ready_bytes: memory that an instance has before it is asked anything.
        """
        apps, runtime = limits.apps, limits.runtime
        memory_bytes = max(
            ready_bytes + runtime.max_memory, SPECIFICATIONS[_GUEST_MEMORY].minimum or 0
        )
        wanted = {"memory_limit_bytes": memory_bytes} | dict(self.limits)
        lowered = {
            name: min(value, getattr(limits.guests, name))
            for name, value in wanted.items()
            if name != "timeout_ms"
        }
        timeout_ms = min(wanted.get("timeout_ms", runtime.exec_timeout), apps.request_timeout_ms)
        return limits.replace(
            {
                "guests": {**lowered, "timeout_ms": timeout_ms},
                "gate": {"effect_count_max": apps.effect_count_max},
            }
        )


def find_manifest(bundle: Bundle, limits: Limits, *, name: str = "") -> Manifest:
    """Return the manifest of a version's files; one of defaults where there is none.

    Args:
        bundle: the files.
        limits: group `apps`.
        name: of the app, where the manifest does not say one.

    Raises:
        ManifestError: two manifests, or one that says what it cannot.
    """
    found = [path for path in MANIFEST_NAMES if path in bundle.by_path]
    if len(found) > 1:
        raise ManifestError(where="$", problem=f"is there twice: {' and '.join(found)}")
    document: Any = {}
    if found:
        content = bundle.by_path[found[0]]
        limit_bytes = limits.apps.manifest_limit_bytes
        if len(content) > limit_bytes:
            problem = f"has {len(content)} bytes; apps.manifest_limit_bytes is {limit_bytes}"
            raise ManifestError(where=found[0], problem=problem)
        document = _decoded(found[0], content)
    if isinstance(document, dict) and "name" not in document and name:
        document = {"name": name, **document}
    return parse_manifest(document, limits, files=bundle.by_path)


def _decoded(path: str, content: bytes) -> Any:
    try:
        text = content.decode()
        return tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ManifestError(where=path, problem=f"cannot be read: {error}") from None


def parse_manifest(
    document: object, limits: Limits, *, files: Mapping[str, bytes] | None = None
) -> Manifest:
    """Return the manifest of a document.

    Args:
        document: what the JSON or TOML says.
        limits: groups `apps` and `guests`.
        files: of the version, to find `main` and check that what is named is there.

    Raises:
        ManifestError: an unknown name, a wrong type, a value out of range, a file that is missing.
    """
    top = _table("$", document, _KEYS)
    name = _text("name", top.get("name", ""))
    if not _NAME.fullmatch(name):
        problem = f"is {name!r}; it has lowercase letters, digits and hyphens, at most 63"
        raise ManifestError(where="name", problem=problem)
    main = _main(top, files)
    static = top.get("static", {})
    static = {"folder": static} if isinstance(static, str) else _table("static", static, _STATIC)
    folder = _path("static.folder", static.get("folder", ""), limits).rstrip("/")
    fallback = _path("static.fallback", static.get("fallback", ""), limits)
    _check_static(folder, fallback, files)
    if not main and not folder:
        raise ManifestError(where="main", problem="names no module, and there is no static folder")
    instances = _choice("instances", top.get("instances", "fresh"), ("fresh", "warm"))
    image = None if top.get("image") is None else _text("image", top["image"])
    policy = _table("policy", top.get("policy", {}), ("net",))
    return Manifest(
        name=name,
        main=main,
        language=_language(top, main),
        instances=cast("Instances", instances),
        image=image,
        static_folder=folder,
        static_fallback=fallback,
        hosts=_hosts(top.get("hosts", []), limits),
        paths=_prefixes(top.get("paths", []), limits),
        limits=_limits(top.get("limits", {}), limits),
        net=_net(policy.get("net")),
        env=_env(top.get("env", {}), limits),
        storage=_storage(top.get("storage", [])),
        schedules=_schedules(top.get("schedules", []), limits),
        record=_recording(top.get("record", {})),
    )


_KEYS: Final = (
    "name",
    "main",
    "language",
    "instances",
    "image",
    "static",
    "hosts",
    "paths",
    "limits",
    "policy",
    "env",
    "storage",
    "schedules",
    "record",
)
_STATIC: Final = ("folder", "fallback")


def _table(where: str, value: object, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(where=where, problem=f"is {_kind(value)}; it must be a table of names")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ManifestError(where=where, problem=f"has an unknown name {key!r}; {hint}")
    return value


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ManifestError(where=where, problem=f"is {_kind(value)}; it must be a text")
    return value


def _list(where: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ManifestError(where=where, problem=f"is {_kind(value)}; it must be a list")
    return value


def _choice(where: str, value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        problem = f"is {value!r}; it must be one of {', '.join(known)}"
        raise ManifestError(where=where, problem=problem)
    return str(value)


def _kind(value: object) -> str:
    names: dict[type, str] = {bool: "a truth value", int: "a number", float: "a number"}
    names |= {str: "a text", list: "a list", dict: "a table", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _path(where: str, value: object, limits: Limits) -> str:
    path = _text(where, value)
    try:
        if path:
            check_path(path.rstrip("/"), limits)
    except BundleError as error:
        raise ManifestError(where=where, problem=f"is {path!r}: {error.message}") from None
    return path


def _main(top: dict[str, Any], files: Mapping[str, bytes] | None) -> str:
    if "main" not in top:
        return next((path for path in DEFAULT_MAINS if path in (files or {})), "")
    main = _text("main", top["main"]).removeprefix("./")
    if main and files is not None and main not in files:
        near = difflib.get_close_matches(main, list(files), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ManifestError(where="main", problem=f"is {main!r}, and there is no such file{hint}")
    return main


def _language(top: dict[str, Any], main: str) -> Language:
    by_suffix = _SUFFIXES.get(PurePosixPath(main).suffix.lower())
    if "language" in top:
        known = ("javascript", "typescript", "python")
        return cast("Language", _choice("language", top["language"], known))
    if by_suffix is None and main:
        problem = f"is {main!r}; its suffix says no language: one of {', '.join(_SUFFIXES)}"
        raise ManifestError(where="main", problem=problem)
    return by_suffix or "javascript"


def _check_static(folder: str, fallback: str, files: Mapping[str, bytes] | None) -> None:
    if fallback and not folder:
        raise ManifestError(where="static", problem="has a fallback and no folder")
    if files is None or not folder:
        return
    if not any(path.startswith(f"{folder}/") for path in files):
        problem = f"is {folder!r}, and no file is in there"
        raise ManifestError(where="static.folder", problem=problem)
    if fallback and f"{folder}/{fallback}" not in files:
        problem = f"is {fallback!r}, which is not in {folder!r}"
        raise ManifestError(where="static.fallback", problem=problem)


def _hosts(value: object, limits: Limits) -> tuple[str, ...]:
    hosts = []
    for entry in _list("hosts", value):
        host = _text("hosts", entry).lower()
        if not is_host_name(host):
            raise ManifestError(where="hosts", problem=f"has {entry!r}, which is no host name")
        hosts.append(host)
    return _bounded("hosts", hosts, "apps.host_count_max", limits.apps.host_count_max)


def _prefixes(value: object, limits: Limits) -> tuple[str, ...]:
    prefixes = []
    for entry in _list("paths", value):
        prefix = _text("paths", entry)
        plain = not {".", ".."} & set(prefix.split("/"))
        if not plain or not _PREFIX.fullmatch(prefix):
            problem = f"has {entry!r}; a prefix begins with / and has plain segments"
            raise ManifestError(where="paths", problem=problem)
        prefixes.append(prefix.rstrip("/") or "/")
    return _bounded("paths", prefixes, "apps.host_count_max", limits.apps.host_count_max)


def _bounded(where: str, found: list[Any], limit: str, limit_value: int) -> tuple[Any, ...]:
    if len(found) > limit_value:
        problem = f"has {len(found)} entries; {limit} allows at most {limit_value}"
        raise ManifestError(where=where, problem=problem)
    if len(set(found)) != len(found):
        raise ManifestError(where=where, problem="has an entry twice")
    return tuple(found)


def _limits(value: object, limits: Limits) -> tuple[tuple[str, int], ...]:
    table = _table("limits", value, tuple(limits.guests.to_dict()))
    try:
        limits.replace({"guests": table})
    except ClocheError as error:
        raise ManifestError(where="limits", problem=f"cannot be: {error.message}") from None
    return tuple(sorted(table.items()))


def _net(value: object) -> Any:
    if value is None:
        return None
    try:
        return NetPolicy.from_document(value).to_document()
    except ClocheError as error:
        raise ManifestError(where="policy.net", problem=f"cannot be: {error.message}") from None


def _env(value: object, limits: Limits) -> tuple[tuple[str, str | None], ...]:
    if not isinstance(value, dict):
        raise ManifestError(where="env", problem=f"is {_kind(value)}; it must be a table of names")
    for name, default in value.items():
        problem = variable_problem(name, "")
        if problem:
            raise ManifestError(where="env", problem=f"has {name!r}; {problem}")
        if default is not None and variable_problem(name, default):
            raise ManifestError(where=f"env.{name}", problem="must be a text without NUL, or null")
    found = sorted(value.items())
    limit_value = limits.apps.environment_count_max
    return _bounded("env", found, "apps.environment_count_max", limit_value)


def variable_problem(name: object, value: object) -> str:
    """Return why there cannot be such a variable; nothing where there can."""
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        return "names have letters, digits and _, and begin with no digit"
    if not isinstance(value, str) or "\0" in value:
        return "its value must be a text without NUL"
    return ""


def _storage(value: object) -> tuple[str, ...]:
    kinds = [_choice("storage", kind, STORAGE_KINDS) for kind in _list("storage", value)]
    return _bounded("storage", sorted(kinds), "the number of kinds", len(STORAGE_KINDS))


def _schedules(value: object, limits: Limits) -> tuple[Schedule, ...]:
    found = []
    for index, entry in enumerate(_list("schedules", value)):
        where = f"schedules[{index}]"
        table = _table(where, entry, ("cron", "name"))
        cron = _text(f"{where}.cron", table.get("cron", ""))
        try:
            parse_cron(cron)
        except ClocheError as error:
            raise ManifestError(
                where=f"{where}.cron", problem=f"cannot be: {error.message}"
            ) from None
        found.append(Schedule(cron=cron, name=_text(f"{where}.name", table.get("name", cron))))
    names = [schedule.name for schedule in found]
    limit_value = limits.apps.schedule_count_max
    _bounded("schedules", names, "apps.schedule_count_max", limit_value)
    return tuple(found)


def _recording(value: object) -> Recording:
    table = _table("record", value, ("sample", "errors"))
    sample, errors = table.get("sample", 0.0), table.get("errors", True)
    if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 <= sample <= 1:
        raise ManifestError(where="record.sample", problem=f"is {sample!r}; it must be 0 to 1")
    if not isinstance(errors, bool):
        raise ManifestError(where="record.errors", problem="must be true or false")
    return Recording(sample=float(sample), errors=errors)
