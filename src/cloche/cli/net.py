"""`cloche net`: which hosts programs may call, and what they called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloche.cli.output import print_json, table
from cloche.cli.session import AsJson, time_text
from cloche.egress.allowlist import GLOBAL_SCOPE, SCOPE
from cloche.egress.errors import NetPolicyError

if TYPE_CHECKING:
    from cloche.egress.adapters.database import EntryRow, NetDatabase
    from cloche.egress.allowlist import Entry

app = typer.Typer(help="Outbound HTTP: allowlists, log, cache.", no_args_is_help=True)
cache_app = typer.Typer(help="What the caches of running processes hold.")
app.add_typer(cache_app, name="cache")

EXIT_DENIED = 1

NetStore = Annotated[
    str | None,
    typer.Option("--store", help="The store whose lists these are: a path; or CLOCHE_STORE."),
]
Scope = Annotated[
    str | None, typer.Option("--scope", help="A list by name; global if none is named.")
]
AppId = Annotated[str | None, typer.Option("--app", help="The list of an app.")]
SessionId = Annotated[str | None, typer.Option("--session", help="The list of a session.")]
EntryText = Annotated[
    str,
    typer.Argument(metavar="ENTRY", help="[METHOD[,METHOD] ][https://]HOST[:PORT][/PATH]."),
]
Methods = Annotated[
    list[str] | None, typer.Option("--method", help="Only this method; repeatable.")
]
Paths = Annotated[
    list[str] | None, typer.Option("--path", help="Only below this path; repeatable.")
]
Ports = Annotated[
    list[int] | None, typer.Option("--port", help="This port instead of 443; repeatable.")
]


def open_net(store: str | None) -> NetDatabase:
    """Return the file of lists, secrets and log of a store."""
    from cloche.egress.adapters.database import NetDatabase  # noqa: PLC0415 - keeps --help fast
    from cloche.egress.adapters.keys import default_path  # noqa: PLC0415
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    return NetDatabase(default_path(store), load_limits())


def scope_of(scope: str | None, app_id: str | None, session: str | None) -> str | None:
    """Return the scope that at most one of three options names, None if none does.

    Raises:
        NetPolicyError: two do, or it is no name.
    """
    named = [("--scope", scope), ("--app", app_id), ("--session", session)]
    given = [(option, value) for option, value in named if value is not None]
    if not given:
        return None
    if len(given) > 1:
        options = " and ".join(option for option, _ in given)
        raise NetPolicyError(where=options, problem="name two lists: give one of them")
    option, value = given[0]
    name = value if option == "--scope" else f"{option[2:]}:{value}"
    if not SCOPE.fullmatch(name):
        raise NetPolicyError(where=f"{option} {value!r}", problem=f"must match {SCOPE.pattern}")
    return name


def _entry(
    text: str, action: Any, methods: list[str] | None, paths: list[str] | None, **more: Any
) -> Entry:
    import msgspec  # noqa: PLC0415

    from cloche.egress.entry_text import entry_of_text  # noqa: PLC0415

    entry = entry_of_text(text, action=action)
    return msgspec.structs.replace(
        entry,
        http=more.pop("http", False) or entry.http,
        methods=(*entry.methods, *(methods or ())),
        paths=(*entry.paths, *(paths or ())),
        ports=(*entry.ports, *(more.pop("ports", None) or ())),
        **more,
    )


def _put(entry: Entry, scope: str, store: str | None, as_json: bool) -> None:
    database = open_net(store)
    try:
        replaced = database.put_entry(scope, entry)
    finally:
        database.close()
    if as_json:
        print_json({"scope": scope, "replaced": replaced, "entry": entry.to_document()})
        return
    done = {"allow": "Allowed", "deny": "Denied"}[entry.action]
    again = ", instead of the entry before" if replaced else ""
    typer.echo(f"{done} {entry.host} ({_protocols(entry)}, {scope}){again}")


def _protocols(entry: Entry) -> str:
    if entry.action == "deny":
        return "all"
    return "HTTP+HTTPS" if entry.http else "HTTPS"


@app.command("allow")
def allow_command(
    entry: EntryText,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    http: Annotated[bool, typer.Option("--http", help="Let plain http pass too.")] = False,
    method: Methods = None,
    path: Paths = None,
    port: Ports = None,
    rate: Annotated[int, typer.Option("--rate", help="Calls per minute; 0 inherits.")] = 0,
    burst: Annotated[int, typer.Option("--burst", help="Calls above the rate at once.")] = 0,
    timeout: Annotated[str, typer.Option("--timeout", help="Of a call: 500, 2s.")] = "0",
    max_response: Annotated[
        str, typer.Option("--max-response", help="Body of a response: bytes, or 64KiB.")
    ] = "0",
    cache_ttl: Annotated[
        str, typer.Option("--cache-ttl", help="Keep responses: seconds, or 5min; 0 is off.")
    ] = "0",
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Let programs call a host; the same again changes the settings."""
    from cloche.limits import parse_quantity  # noqa: PLC0415

    made = _entry(
        entry,
        "allow",
        method,
        path,
        http=http,
        ports=port,
        rate_limit=rate,
        rate_burst=burst,
        timeout_ms=parse_quantity(timeout, "ms", "--timeout"),
        max_response=parse_quantity(max_response, "bytes", "--max-response"),
        cache_ttl_s=_seconds(cache_ttl, "--cache-ttl"),
    )
    _put(made, scope_of(scope, app_id, session) or GLOBAL_SCOPE, store, as_json)


def _seconds(text: str, name: str) -> int:
    from cloche.limits import parse_quantity  # noqa: PLC0415

    if text.strip().isdecimal():
        return parse_quantity(text, "count", name)
    time_ms = parse_quantity(text, "ms", name)
    if time_ms % 1000:
        raise NetPolicyError(where=f"{name} {text}", problem="is no whole number of seconds")
    return time_ms // 1000


@app.command("deny")
def deny_command(
    entry: EntryText,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    method: Methods = None,
    path: Paths = None,
    port: Ports = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a host that an entry of the same list, or of a later one, would allow."""
    made = _entry(entry, "deny", method, path, ports=port)
    _put(made, scope_of(scope, app_id, session) or GLOBAL_SCOPE, store, as_json)


@app.command("list")
def list_command(
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """List the entries of all lists, or of one."""
    database = open_net(store)
    try:
        rows = database.entry_rows(scope_of(scope, app_id, session))
    finally:
        database.close()
    if as_json:
        print_json(
            {
                "entries": [
                    {"scope": row.scope, **_settings(row.entry), "created_ns": row.created_ns}
                    for row in rows
                ]
            }
        )
    elif not rows:
        typer.echo("No entries: nothing is allowed.")
    else:
        columns = ["list", "action", "entry", "protocols", "settings", "created"]
        table("Outbound HTTP", columns, [_cells(row) for row in rows])


def _settings(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def _cells(row: EntryRow) -> list[str]:
    from cloche.egress.entry_text import text_of_entry  # noqa: PLC0415
    from cloche.limits import format_quantity  # noqa: PLC0415

    entry = row.entry
    shown = {
        "rate": f"{entry.rate_limit}/min" if entry.rate_limit else "",
        "burst": str(entry.rate_burst or ""),
        "timeout": format_quantity(entry.timeout_ms, "ms") if entry.timeout_ms else "",
        "response": format_quantity(entry.max_response, "bytes") if entry.max_response else "",
        "cache": format_quantity(entry.cache_ttl_s * 1000, "ms") if entry.cache_ttl_s else "",
    }
    return [
        row.scope,
        entry.action,
        text_of_entry(entry).replace("http://", "").replace("https://", ""),
        _protocols(entry),
        ", ".join(f"{name} {text}" for name, text in shown.items() if text),
        time_text(row.created_ns),
    ]


@app.command("remove")
def remove_command(
    entry: EntryText,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    method: Methods = None,
    path: Paths = None,
    port: Ports = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Remove all entries of a host, or the one with these methods, ports and paths."""
    named = _entry(entry, "allow", method, path, ports=port)
    name = scope_of(scope, app_id, session) or GLOBAL_SCOPE
    database = open_net(store)
    try:
        count = database.remove_entries(name, named)
    finally:
        database.close()
    if not count:
        raise NetPolicyError(where=f"list {name}", problem=f"has no such entry for {named.host}")
    if as_json:
        print_json({"scope": name, "host": named.host, "removed": count})
    else:
        typer.echo(
            f"Removed {named.host} from {name}" + (f" ({count} entries)" if count > 1 else "")
        )


@app.command("test")
def explain_command(
    url: Annotated[str, typer.Argument(metavar="URL", help="What a program would call.")],
    method: Annotated[str, typer.Option("--method", "-X", help="How.")] = "GET",
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Lists that are asked, in order; global if none is named."),
    ] = None,
    app_id: AppId = None,
    session: SessionId = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="An entry of the run itself; repeatable.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", help="The same, refused; repeatable.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", help="A secret that the call would use.")
    ] = None,
    resolve: Annotated[
        bool, typer.Option("--resolve", help="Ask for the host's addresses and check them.")
    ] = False,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a call would be allowed and which rule decides; nothing is sent."""
    from cloche.cli.net_explain import print_explanation  # noqa: PLC0415
    from cloche.egress.adapters.explain import explain  # noqa: PLC0415
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    scopes = [
        name for name in (scope_of(None, None, session), scope_of(None, app_id, None)) if name
    ]
    scopes += [scope_of(name, None, None) or "" for name in scope or []]
    if GLOBAL_SCOPE not in scopes and not scope:
        scopes.append(GLOBAL_SCOPE)
    database = open_net(store)
    try:
        verdict = explain(
            database,
            load_limits(),
            url=url,
            method=method,
            scopes=scopes,
            allow=allow or [],
            deny=deny or [],
            secret=secret,
            resolve=resolve,
        )
    finally:
        database.close()
    if as_json:
        print_json(verdict)
    else:
        print_explanation(verdict)
    raise typer.Exit(0 if verdict["allowed"] else EXIT_DENIED)


# --- what happened ---


@app.command("logs")
def logs_command(
    host: Annotated[
        str | None, typer.Option("--host", "--domain", help="Calls to this host.")
    ] = None,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    run: Annotated[str | None, typer.Option("--run", help="Calls of this run.")] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="What was refused, failed, or has status 400 and up.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, the newest.")] = 50,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """List the newest decisions; the newest is the last."""
    import msgspec  # noqa: PLC0415

    from cloche.egress.allowlist import canonical_pattern  # noqa: PLC0415

    database = open_net(store)
    try:
        records = database.records(
            host=None if host is None else canonical_pattern(host),
            scope=scope_of(scope, app_id, session),
            run_id=run,
            errors=errors,
            count=limit,
        )
        dropped = database.dropped
    finally:
        database.close()
    if as_json:
        print_json({"records": [msgspec.to_builtins(r) for r in records], "dropped": dropped})
        return
    if not records:
        typer.echo("No calls.")
    else:
        columns = ["time", "run", "list", "outcome", "call", "status", "ms", "sent", "received"]
        rows = [
            [
                time_text(record.at_ns),
                record.run_id,
                record.scope,
                record.outcome,
                f"{record.method} {record.host}{record.path}",
                str(record.status or record.code or ""),
                str(record.duration_ms),
                str(record.request_bytes),
                str(record.response_bytes),
            ]
            for record in records
        ]
        table("Calls", columns, rows)
    if dropped:
        typer.echo(f"{dropped} records were dropped: they came faster than they were kept.")


@app.command("stats")
def stats_command(store: NetStore = None, as_json: AsJson = False) -> None:
    """Show calls, mean time and share of errors for each host, the busiest first."""
    database = open_net(store)
    try:
        hosts = database.stats()
        dropped = database.dropped
    finally:
        database.close()
    for host in hosts:
        host["error_share"] = round((host["failures"] + host["denied"]) / host["calls"], 4)
    if as_json:
        print_json({"hosts": hosts, "dropped": dropped})
        return
    if not hosts:
        typer.echo("No calls.")
        return
    columns = ["host", "calls", "mean", "errors", "failed", "denied", "cached", "bytes"]
    rows = [
        [
            host["host"],
            str(host["calls"]),
            f"{host['duration_ms']} ms",
            f"{host['error_share']:.1%}",
            str(host["failures"]),
            str(host["denied"]),
            str(host["cached"]),
            str(host["bytes"]),
        ]
        for host in hosts
    ]
    table("Calls by host", columns, rows)


@cache_app.callback(invoke_without_command=True)
def cache_command(context: typer.Context, store: NetStore = None, as_json: AsJson = False) -> None:
    """Show what the caches of running processes hold."""
    context.obj = store, as_json
    if context.invoked_subcommand is not None:
        return
    database = open_net(store)
    try:
        caches = database.caches()
    finally:
        database.close()
    for cache in caches:
        asked = cache["hits"] + cache["misses"]
        cache["hit_share"] = round(cache["hits"] / asked, 4) if asked else 0.0
    if as_json:
        print_json({"caches": caches})
    elif not caches:
        typer.echo("No running process has a cache.")
    else:
        rows = [
            [
                cache["process"],
                f"{cache['items']} of {cache['max_items']}",
                f"{cache['bytes']} of {cache['max_bytes']}",
                str(cache["hits"]),
                str(cache["misses"]),
                f"{cache['hit_share']:.1%}",
                time_text(cache["at_ns"]),
            ]
            for cache in caches
        ]
        columns = ["process", "items", "bytes", "hits", "misses", "hit rate", "as of"]
        table("Caches", columns, rows)


@cache_app.command("clear")
def clear_command(context: typer.Context, store: NetStore = None, as_json: AsJson = False) -> None:
    """Let every process forget its cached responses, with its next call."""
    outer_store, outer_json = context.obj
    database = open_net(store or outer_store)
    try:
        database.clear_caches()
    finally:
        database.close()
    if as_json or outer_json:
        print_json({"cleared": True})
    else:
        typer.echo("All caches are cleared.")
