"""`cloche secret`: what programs may send and never see.

A value comes from standard input or a prompt: an argument would stay in the shell's history and in
the list of processes.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloche.cli.net import (
    AppId,
    Methods,
    NetStore,
    Paths,
    Ports,
    Scope,
    SessionId,
    open_net,
    scope_of,
)
from cloche.cli.output import print_json, table
from cloche.cli.session import AsJson, time_text
from cloche.egress.allowlist import GLOBAL_SCOPE
from cloche.egress.errors import NetPolicyError

if TYPE_CHECKING:
    from cloche.egress.adapters.database import SecretRow

app = typer.Typer(help="Secrets that programs use and never see.", no_args_is_help=True)

_MASK = "********"

Name = Annotated[str, typer.Argument(metavar="NAME", help="What policies call it.")]
# Takes what people add out of habit, so that it is refused without being repeated.
Value = Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)]


@app.command("set")
def set_command(
    name: Name,
    value: Value = None,
    domain: Annotated[
        list[str] | None,
        typer.Option("--domain", help="A host it may go to, or *.HOST; repeatable, required."),
    ] = None,
    inject_as: Annotated[
        str, typer.Option("--as", help="bearer, header, query, basic or placeholder.")
    ] = "bearer",
    key: Annotated[
        str, typer.Option("--key", help="Name of the header or query field; the user of basic.")
    ] = "",
    method: Methods = None,
    path: Paths = None,
    port: Ports = None,
    from_env: Annotated[
        str | None, typer.Option("--from-env", help="Take the value of this variable of yours.")
    ] = None,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Keep a secret; its value is read from standard input, or asked for."""
    from cloche.egress.secrets import Secret  # noqa: PLC0415 - keeps --help fast

    _refuse_value(value)
    where = scope_of(scope, app_id, session) or GLOBAL_SCOPE
    # What is wrong with the rest is said before a person types the value.
    settings: dict[str, Any] = {
        "name": name,
        "inject_as": inject_as,
        "key": key,
        "domains": tuple(domain or ()),
        "methods": tuple(method or ()),
        "paths": tuple(path or ()),
        "ports": tuple(port or ()),
        "scope": where,
    }
    Secret(value="user:password", **settings)
    found = _read_value(name) if from_env is None else _value_of(from_env)
    secret = Secret(value=found, **settings)
    database = open_net(store)
    try:
        replaced = database.put_secret(secret)
    finally:
        database.close()
    if as_json:
        print_json({"name": name, "scope": where, "replaced": replaced})
    else:
        again = ", instead of the one before" if replaced else ""
        typer.echo(f"Secret {name} set ({inject_as}, {where}){again}")


@app.command("list")
def list_command(
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """List secrets and what they are bound to, never their values."""
    import msgspec  # noqa: PLC0415

    database = open_net(store)
    try:
        rows = database.secrets(scope_of(scope, app_id, session))
    finally:
        database.close()
    if as_json:
        print_json({"secrets": [msgspec.to_builtins(row) for row in rows]})
    elif not rows:
        typer.echo("No secrets.")
    else:
        columns = ["name", "scope", "value", "as", "domains", "only", "changed", "last used"]
        table("Secrets", columns, [_cells(row) for row in rows])


def _cells(row: SecretRow) -> list[str]:
    only = [*row.methods, *row.paths, *(f":{port}" for port in row.ports)]
    return [
        row.name,
        row.scope,
        _MASK,
        f"{row.inject_as} {row.key}".strip(),
        ", ".join(row.domains),
        ", ".join(only),
        time_text(row.updated_ns) + (" (rotating)" if row.rotating else ""),
        "never" if row.used_ns is None else time_text(row.used_ns),
    ]


@app.command("rotate")
def rotate_command(
    name: Name,
    value: Value = None,
    overlap: Annotated[
        str | None,
        typer.Option("--overlap", help="How long the old value is still scrubbed: 24h, 0."),
    ] = None,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Give a secret a new value; what it is bound to stays."""
    from cloche.limits import parse_quantity  # noqa: PLC0415

    _refuse_value(value)
    where = scope_of(scope, app_id, session) or GLOBAL_SCOPE
    overlap_ms = None if overlap is None else parse_quantity(overlap, "ms", "--overlap")
    if overlap_ms is not None and overlap_ms < 0:
        raise NetPolicyError(where=f"--overlap {overlap}", problem="is a time, 0 or more")
    database = open_net(store)
    try:
        if not any(row.name == name for row in database.secrets(where)):
            raise _unknown(name, where)
        database.rotate_secret(name, _read_value(name), scope=where, overlap_ms=overlap_ms)
    finally:
        database.close()
    if as_json:
        print_json({"name": name, "scope": where, "rotated": True})
    else:
        typer.echo(f"Secret {name} has a new value ({where})")


@app.command("remove")
def remove_command(
    name: Name,
    scope: Scope = None,
    app_id: AppId = None,
    session: SessionId = None,
    store: NetStore = None,
    as_json: AsJson = False,
) -> None:
    """Forget a secret."""
    where = scope_of(scope, app_id, session) or GLOBAL_SCOPE
    database = open_net(store)
    try:
        removed = database.remove_secret(name, where)
    finally:
        database.close()
    if not removed:
        raise _unknown(name, where)
    if as_json:
        print_json({"name": name, "scope": where, "removed": True})
    else:
        typer.echo(f"Secret {name} removed from {where}")


def _unknown(name: str, scope: str) -> NetPolicyError:
    return NetPolicyError(where=f"secret {name}", problem=f"does not exist in {scope}")


def _refuse_value(value: list[str] | None) -> None:
    if value:
        raise NetPolicyError(
            where="a secret's value",
            problem="is never an argument, which others could read: pipe it in, or type it when "
            "asked. Change this one: it is in your shell's history",
        )


def _value_of(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise NetPolicyError(where=f"--from-env {variable}", problem="is not set, or empty")
    return value


def _read_value(name: str) -> str:
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    if sys.stdin is None:
        raise NetPolicyError(where=f"secret {name}", problem="has no value on standard input")
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True))
    limit_bytes = load_limits().egress.secret_limit_bytes
    data = sys.stdin.buffer.read(limit_bytes + 3)
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise NetPolicyError(
            where=f"secret {name}", problem="has a value that is not UTF-8"
        ) from None
    if not text:
        raise NetPolicyError(
            where=f"secret {name}", problem="has no value: pipe it in, or type it when asked"
        )
    return text
