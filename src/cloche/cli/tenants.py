"""`cloche tenants`: what each tenant of a server may have and do, on the store that it serves."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloche.cli.config import served_store
from cloche.cli.output import print_json, table
from cloche.cli.session import AsJson, Store

if TYPE_CHECKING:
    from cloche.limits import Limits
    from cloche.server.tenants import Tenants

app = typer.Typer(help="Tenants of a server: their limits.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="TENANT", help="Its name.")]


def _opened(store: str | None) -> tuple[Any, Limits, Tenants]:
    from cloche.exec.stores import store_at  # noqa: PLC0415 - keeps --help fast
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415
    from cloche.server.tenants import Tenants  # noqa: PLC0415

    opened, limits = store_at(served_store(store)), load_limits()
    return opened, limits, Tenants(opened, limits)


def _document(tenants: Tenants, tenant: str) -> dict[str, Any]:
    from cloche.server.tenants import TENANT_LIMITS  # noqa: PLC0415

    limits, settings = tenants.limits(tenant), tenants.settings(tenant)
    return {
        "id": tenant,
        "limits": {name: getattr(limits, name) for name in TENANT_LIMITS},
        "own": {} if settings is None else settings.limits,
    }


@app.command("list")
def list_command(store: Store = None, as_json: AsJson = False) -> None:
    """List tenants: who has a key, or limits of its own."""
    from cloche.server.keyring import Keyring  # noqa: PLC0415

    opened, limits, tenants = _opened(store)
    keyring = Keyring(opened, limits, now_ns=time.time_ns, random_bytes=secrets.token_bytes)
    names = sorted({*keyring.tenants(), *tenants.names()})
    documents = [_document(tenants, name) for name in names]
    if as_json:
        print_json({"tenants": documents})
        return
    rows = [
        [each["id"], ", ".join(_shown(name, value) for name, value in each["own"].items())]
        for each in documents
    ]
    table("Tenants", ["tenant", "limits of its own"], rows)


def _shown(name: str, value: int) -> str:
    from cloche.limits import format_quantity  # noqa: PLC0415
    from cloche.limits.limits import find  # noqa: PLC0415

    return f"{name}={format_quantity(value, find(f'server.{name}').unit)}"


@app.command("show")
def show_command(tenant: Name, store: Store = None, as_json: AsJson = False) -> None:
    """Show the limits that hold for a tenant, and which of them are its own."""
    from cloche.server.keys import check_tenant  # noqa: PLC0415

    check_tenant(tenant)
    _, _, tenants = _opened(store)
    document = _document(tenants, tenant)
    if as_json:
        print_json(document)
        return
    rows = [
        [*_shown(name, value).split("="), "its own" if name in document["own"] else "the server's"]
        for name, value in document["limits"].items()
    ]
    table(f"Tenant {tenant}", ["limit", "value", "whose"], rows)


@app.command("set")
def set_command(
    tenant: Name,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="LIMIT=VALUE…", help="Such as session_count_max=100."),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", help="Let the server's hold; repeatable.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Give a tenant limits of its own; the others stay. A server that runs hears of it at once."""
    from cloche.server.audit import Audit  # noqa: PLC0415
    from cloche.server.tenants import check_limit  # noqa: PLC0415

    opened, limits, tenants = _opened(store)
    kept = tenants.settings(tenant)
    own = {} if kept is None else dict(kept.limits)
    for name in unset or ():
        check_limit(name)
        own.pop(name, None)
    own |= dict(_read(text) for text in settings or ())
    audit = Audit(opened, limits, now_ns=time.time_ns, random_bytes=secrets.token_bytes)
    with audit.noted("default", None, "tenant.set", tenant, own):
        tenants.put(tenant, own)
    if as_json:
        print_json(_document(tenants, tenant))
    else:
        shown = ", ".join(_shown(name, value) for name, value in sorted(own.items()))
        typer.echo(f"{tenant}: {shown or 'the limits of the server'}")


def _read(text: str) -> tuple[str, int]:
    from cloche.limits import parse_quantity  # noqa: PLC0415
    from cloche.limits.limits import find  # noqa: PLC0415
    from cloche.server.errors import InvalidFieldError  # noqa: PLC0415
    from cloche.server.tenants import check_limit  # noqa: PLC0415

    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidFieldError(field=text, problem="give LIMIT=VALUE")
    check_limit(name)
    spec = find(f"server.{name}", "the command line")
    return name, parse_quantity(value, spec.unit, name)
