"""`cloche app`: web apps that run as guests, on the store that a server serves.

A server that runs sees a change within a second. Exit codes: 0 done, 1 the app or the store is at
fault, 2 wrong usage.
"""

# ruff: noqa: PLC0415 - heavy imports wait for the command that needs them
from __future__ import annotations

import getpass
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cloche.cli.config import configured, served_store
from cloche.cli.output import print_json, table
from cloche.cli.session import AsJson, Store, time_text
from cloche.errors import ClocheError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.apps.logs import LogLine
    from cloche.apps.open import Apps
    from cloche.apps.recordings import RecordedRequest
    from cloche.apps.registry import App, Version
    from cloche.apps.routing import AppName

app = typer.Typer(help="Apps: web apps that run as guests.", no_args_is_help=True)

NS_PER_MS: Final = 1_000_000
_FILES: Final = {
    "cloche.app.json.txt": "cloche.app.json",
    "index.html.txt": "static/index.html",
}
_BEGINNING_MIN: Final = 4  # digits of an id that are taken for its beginning
_SHORT: Final = 12  # digits of a version that people are shown
_POLL_S: Final = 0.5
_OVERLAP_MS: Final = 2000
_LINES_MAX: Final = 100_000

Name = Annotated[str, typer.Argument(metavar="APP", help="Name of the app.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose app it is.")]


class AppFolderError(ClocheError):
    """A new app cannot be written here. State: nothing was written."""

    code = "APP_FOLDER"
    blame = "caller"

    def __init__(self, *, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}", place=place, problem=problem)


def _apps(store: str | None) -> Apps:
    from cloche.apps.hostnames import host_names
    from cloche.apps.open import open_apps
    from cloche.exec.stores import store_at
    from cloche.limits.adapters.settings import load_limits

    values = configured()[0].values
    names = host_names(
        values["app_domain"], listed=values["app_hostnames"], own=values["public_names"]
    )
    return open_apps(store_at(served_store(store)), load_limits(), names=names)


def _name(name: str, tenant: str) -> AppName:
    from cloche.apps.routing import AppName

    return AppName(tenant=tenant, name=name)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


# --- writing one ---


@app.command("new")
def new_command(
    place: Annotated[
        Path, typer.Argument(metavar="NAME", help="The folder; its name is the app's.")
    ],
    language: Annotated[
        Literal["js", "ts", "python"], typer.Option("--language", "-l", help="Of its code.")
    ] = "js",
    as_json: AsJson = False,
) -> None:
    """Write an app: a page, and code that answers it from its own storage."""
    written = write_app(place, language)
    if as_json:
        print_json({"app": place.name, "written": written})
        return
    typer.echo(f"{place}: {', '.join(written)}")
    typer.echo(f"  cloche app deploy {place}")


def write_app(place: Path, language: str) -> list[str]:
    """Write the files of a new app; return their paths.

    Raises:
        AppFolderError: the name is none of an app, or there is something already.
    """
    from cloche.apps.errors import ManifestError
    from cloche.apps.manifest import parse_manifest
    from cloche.limits import Limits

    main = {"js": "main.js", "ts": "main.ts", "python": "main.py"}[language]
    try:
        parse_manifest({"name": place.name, "main": main}, Limits())
    except ManifestError as error:
        raise AppFolderError(place=place.name, problem=error.fields["problem"]) from None
    if place.exists() and any(place.iterdir() if place.is_dir() else [place]):
        raise AppFolderError(place=str(place), problem="it is there and not empty")
    templates = {**_FILES, f"{main}.txt": main}
    for template, target in templates.items():
        text = files("cloche.cli").joinpath("new_app", template).read_text(encoding="utf-8")
        path = place / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{{name}}", place.name).replace("{{main}}", main), "utf-8")
    return sorted(templates.values())


# --- deploying ---


@app.command("deploy")
def deploy_command(
    place: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder, or an archive: ZIP, tar, tar.gz.")
    ],
    name: Annotated[
        str, typer.Option("--name", help="The app; else as the manifest says, or the folder.")
    ] = "",
    env: Annotated[
        list[str] | None, typer.Option("--env", help="NAME=VALUE of its environment; repeatable.")
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option("--canary", min=1, max=99, help="Let it answer so many of 100 clients."),
    ] = None,
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a version, keep it, and let it answer."""
    from cloche.apps.adapters.archives import read_archive, read_folder
    from cloche.apps.manifest import find_manifest

    apps = _apps(store)
    if place.is_file():
        bundle = read_archive(place.read_bytes(), apps.limits, name=str(place))
    else:
        bundle = read_folder(place, apps.limits)
    fallback = place.resolve().name.partition(".")[0]
    chosen = name or find_manifest(bundle, apps.limits, name=fallback).name
    app_name = _name(chosen, tenant)
    version, found = apps.deploy(
        app_name, bundle, who=_who(), env=_pairs(env or []), canary_share=canary
    )
    if as_json:
        print_json({"app": chosen, **_version(version, found), "url": _url(found)})
        return
    built = apps.versions.get(app_name, version.id, found.env).built
    sys.stderr.write(built.printed)
    if built.manifest.net is not None and not configured()[0].values["allow_net"]:
        typer.echo(f"{chosen} makes outbound calls: serve with --allow-net", err=True)
    share = f" for {canary} of 100 clients" if found.canary == version.id else ""
    typer.echo(
        f"{chosen} v{version.number} ({version.id[:_SHORT]}) answers{share} at {_url(found)}"
    )


def _pairs(texts: list[str], hint: str = "--env") -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=hint)
        found[key] = value
    return found


def _url(found: App) -> str:
    """Return where an app answers on the server that is configured here."""
    values = configured()[0].values
    scheme = "https" if values["tls_self_signed"] or values["tls_cert"] else "http"
    port = str(values["bind"]).rpartition(":")[2]
    suffix = f":{port}" if port.isdecimal() else ""
    return f"{scheme}://{found.hosts[0]}{suffix}/"


# --- looking ---


@app.command("list")
def list_command(tenant: Tenant = "default", store: Store = None, as_json: AsJson = False) -> None:
    """List the apps of a tenant."""
    apps = _apps(store)
    found = apps.registry.apps(tenant)
    if as_json:
        print_json({"apps": [_app(name, each) for name, each in found.items()]})
        return
    rows = []
    for name, each in found.items():
        numbers = {
            version.id: version.number for version in apps.registry.versions(_name(name, tenant))
        }
        canary = f" + v{numbers.get(each.canary, '?')} {each.share} %" if each.canary else ""
        state = "stopped" if each.stopped else f"v{numbers.get(each.live, '?')}{canary}"
        changed = time_text(each.changed_ms * NS_PER_MS)
        rows.append([name, state, ", ".join((*each.hosts, *each.prefixes)), changed])
    table("Apps", ["app", "answers", "at", "changed (UTC)"], rows)


def _app(name: str, found: App) -> dict[str, Any]:
    return {
        "name": name,
        "live": found.live,
        "canary": found.canary,
        "share": found.share,
        "hosts": list(found.hosts),
        "prefixes": list(found.prefixes),
        "env": sorted(found.env),
        "stopped": found.stopped,
        "changed_ms": found.changed_ms,
        "url": _url(found),
    }


@app.command("versions")
def versions_command(
    name: Name, tenant: Tenant = "default", store: Store = None, as_json: AsJson = False
) -> None:
    """List the versions of an app, newest first."""
    apps, app_name = _apps(store), _name(name, tenant)
    found, versions = apps.registry.app(app_name), apps.registry.versions(app_name)
    if as_json:
        print_json({"versions": [_version(each, found) for each in versions]})
        return
    rows = [
        [
            f"v{each.number}",
            each.id[:_SHORT],
            _state(each, found),
            str(len(each.files)),
            f"{each.size_bytes:,}",
            each.who,
            time_text(each.created_ms * NS_PER_MS),
        ]
        for each in versions
    ]
    columns = ["version", "id", "answers", "files", "bytes", "who", "made (UTC)"]
    table(f"Versions of {name}", columns, rows, whole={"version", "id"})


def _state(version: Version, found: App) -> str:
    if version.id == found.live:
        return "stopped" if found.stopped else "live"
    return f"{found.share} %" if version.id == found.canary else ""


def _version(version: Version, found: App) -> dict[str, Any]:
    return {
        "id": version.id,
        "number": version.number,
        "state": _state(version, found),
        "files": len(version.files),
        "size_bytes": version.size_bytes,
        "who": version.who,
        "created_ms": version.created_ms,
    }


@app.command("history")
def history_command(
    name: Name, tenant: Tenant = "default", store: Store = None, as_json: AsJson = False
) -> None:
    """Show what was done to an app, newest first."""
    import msgspec

    done = _apps(store).registry.actions(_name(name, tenant))
    if as_json:
        print_json({"actions": [msgspec.to_builtins(each) for each in done]})
        return
    rows = [
        [
            time_text(each.at_ms * NS_PER_MS),
            each.action,
            each.version[:_SHORT],
            each.who,
            each.detail,
        ]
        for each in done
    ]
    table(f"History of {name}", ["when (UTC)", "what", "version", "who", ""], rows)


@app.command("open")
def open_command(
    name: Name,
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Say where an app answers; open it in a browser where there is one."""
    found = _apps(store).registry.app(_name(name, tenant))
    url = _url(found)
    if as_json:
        print_json({"url": url})
        return
    typer.echo(url)
    if sys.stdout.isatty():
        import webbrowser

        webbrowser.open(url)


# --- changing ---


@app.command("rollback")
def rollback_command(
    name: Name,
    to: Annotated[str, typer.Option("--to", help="A version; else the one before.")] = "",
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Let the version before answer again, or the one that is named; a canary goes."""
    apps, app_name = _apps(store), _name(name, tenant)
    _changed(apps, app_name, apps.rollback(app_name, who=_who(), to=to), as_json=as_json)


@app.command("promote")
def promote_command(
    name: Name, tenant: Tenant = "default", store: Store = None, as_json: AsJson = False
) -> None:
    """Let the canary answer everybody."""
    apps, app_name = _apps(store), _name(name, tenant)
    _changed(apps, app_name, apps.promote(app_name, who=_who()), as_json=as_json)


@app.command("stop")
def stop_command(
    name: Name, tenant: Tenant = "default", store: Store = None, as_json: AsJson = False
) -> None:
    """Let an app answer nothing."""
    apps, app_name = _apps(store), _name(name, tenant)
    _changed(apps, app_name, apps.registry.stop(app_name, who=_who()), as_json=as_json)


@app.command("start")
def start_command(
    name: Name, tenant: Tenant = "default", store: Store = None, as_json: AsJson = False
) -> None:
    """Let a stopped app answer again."""
    apps, app_name = _apps(store), _name(name, tenant)
    found = apps.registry.stop(app_name, who=_who(), stopped=False)
    _changed(apps, app_name, found, as_json=as_json)


def _changed(apps: Apps, name: AppName, found: App, *, as_json: bool) -> None:
    if as_json:
        print_json(_app(name.name, found))
        return
    number = {each.id: each.number for each in apps.registry.versions(name)}.get(found.live)
    what = "is stopped" if found.stopped else f"v{number} answers at {_url(found)}"
    typer.echo(f"{name.name}: {what}")


@app.command("env")
def env_command(
    name: Name,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE|NAME=]...", help="To set, or to remove."),
    ] = None,
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show the environment of an app, or change it."""
    apps, app_name = _apps(store), _name(name, tenant)
    found = apps.registry.app(app_name)
    if changes:
        pairs: dict[str, str | None] = {
            key: value or None for key, value in _pairs(changes, "NAME=VALUE").items()
        }
        found = apps.set_env(app_name, pairs, who=_who())
    if as_json:
        print_json({"env": dict(sorted(found.env.items()))})
        return
    rows = [[key, value] for key, value in sorted(found.env.items())]
    table(f"Environment of {name}", ["name", "value"], rows)


@app.command("rm")
def rm_command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Remove an app with its versions, its log, and all that it has stored."""
    apps, app_name = _apps(store), _name(name, tenant)
    apps.registry.app(app_name)
    if not yes:
        typer.confirm(f"Remove {name} with everything that it has stored?", abort=True, err=True)
    apps.remove(app_name)
    if as_json:
        print_json({"removed": name})
    else:
        typer.echo(f"{name} is removed")


# --- what it says, and what it was asked ---


@app.command("logs")
def logs_command(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    level: Annotated[
        Literal["debug", "info", "warn", "error"], typer.Option("--level", help="The least grave.")
    ] = "debug",
    request: Annotated[
        str, typer.Option("--request", help="Of one request; the beginning of its id will do.")
    ] = "",
    count: Annotated[int, typer.Option("-n", min=1, max=_LINES_MAX, help="How many lines.")] = 100,
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest lines of an app's log."""
    import time

    apps, app_name = _apps(store), _name(name, tenant)
    apps.registry.app(app_name)

    def read(after_ms: int) -> list[LogLine]:
        return apps.logs.read(
            app_name, level=level, request=request, after_ms=after_ms, limit=_LINES_MAX
        )

    known = read(-1)
    for line in known[-count:]:
        _print_line(line, as_json=as_json)
    while follow:
        time.sleep(_POLL_S)
        # Lines of one moment may be kept in any order.
        newest_ms = max((line.at_ms for line in known), default=-1)
        found = read(max(newest_ms - _OVERLAP_MS, -1))
        for line in new_lines(found, known):
            _print_line(line, as_json=as_json)
        known = found


def new_lines(found: Sequence[LogLine], known: Sequence[LogLine]) -> list[LogLine]:
    """Return the lines that are found more often than they are known, in their order."""
    import msgspec

    left = Counter(map(msgspec.json.encode, known))
    new = []
    for line in found:
        text = msgspec.json.encode(line)
        if left[text]:
            left[text] -= 1
        else:
            new.append(line)
    return new


def _print_line(line: LogLine, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(line))
        return
    fields = " ".join(f"{key}={value!r}" for key, value in line.fields.items())
    when = time_text(line.at_ms * NS_PER_MS)
    text = f"{when} {line.level:5} {line.request[:8]} {line.message} {fields}".rstrip()
    # A terminal must not obey what an app wrote, nor take one line for two.
    typer.echo("".join(each if each.isprintable() else _escaped(each) for each in text))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


@app.command("requests")
def requests_command(
    name: Name,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 50,
    tenant: Tenant = "default",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List recorded requests of an app, newest first."""
    import msgspec

    apps, app_name = _apps(store), _name(name, tenant)
    apps.registry.app(app_name)
    found = apps.recordings.page(app_name, limit=count)
    if as_json:
        documents = [msgspec.to_builtins(each) for each in found]
        for document in documents:
            del document["env"]
        print_json({"requests": documents})
        return
    rows = [
        [
            each.id,
            time_text(each.created_ms * NS_PER_MS),
            f"{each.method} {each.target}".strip() or each.kind,
            str(each.status or ""),
            f"{each.duration_ms:.1f}",
            each.code,
        ]
        for each in found
    ]
    columns = ["request", "when (UTC)", "what", "status", "ms", "failed with"]
    table(f"Recorded requests of {name}", columns, rows, whole={"request"})


@app.command("replay")
def replay_command(
    request: Annotated[
        str,
        typer.Argument(metavar="REQUEST", help="Id of a recorded request, or how it begins."),
    ],
    body: Annotated[bool, typer.Option("--body", help="Print the body of the response.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Run a recorded request again: the same bytes, the same image, the same effects."""
    from cloche.apps.replaying import replay_request

    apps = _apps(store)
    found = _recorded(apps, request)
    response = replay_request(apps, found)
    if body and response is not None:
        sys.stdout.buffer.write(response.body)
        return
    # What failed before it answered was answered by the host.
    status = found.status if response is None else response.status
    if as_json:
        size = 0 if response is None else len(response.body)
        print_json({"request": found.id, "same": True, "status": status, "body_bytes": size})
        return
    asked = f"{found.method} {found.target}".strip() or found.kind
    typer.echo(f"{asked}: the same bytes again" + (f", status {status}" if status else ""))


def _recorded(apps: Apps, wanted: str) -> RecordedRequest:
    """Return the one recorded request whose id is wanted, or begins so."""
    from cloche.apps.registry import app_name_of

    found: set[str] = set()
    if len(wanted) >= _BEGINNING_MIN:
        for name in apps.registry.state()[1].apps:
            found.update(apps.recordings.ids(app_name_of(name), wanted))
    if len(found) > 1:
        problem = (
            f"{len(found)} recorded requests begin with {wanted!r}: {', '.join(sorted(found))}"
        )
        raise typer.BadParameter(problem, param_hint="REQUEST")
    return apps.recordings.find(min(found, default=wanted))
