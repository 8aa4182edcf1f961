"""`cloche keys`: who may ask a server, on the store that it serves."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cloche.cli.config import served_store
from cloche.cli.output import print_json, table
from cloche.cli.session import AsJson, Store, time_text

if TYPE_CHECKING:
    from cloche.server.audit import Audit
    from cloche.server.keyring import Keyring
    from cloche.server.keys import Key

app = typer.Typer(help="Keys of a server: who may ask it for what.", no_args_is_help=True)

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of a key: the part behind clk_.")]
Tenant = Annotated[str, typer.Option("--tenant", help="For whom it acts.")]


def _opened(store: str | None) -> tuple[Keyring, Audit]:
    from cloche.exec.stores import store_at  # noqa: PLC0415 - keeps --help fast
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415
    from cloche.server.audit import Audit  # noqa: PLC0415
    from cloche.server.keyring import Keyring  # noqa: PLC0415

    opened, limits = store_at(served_store(store)), load_limits()
    keyring = Keyring(opened, limits, now_ns=time.time_ns, random_bytes=secrets.token_bytes)
    audit = Audit(opened, limits, now_ns=time.time_ns, random_bytes=secrets.token_bytes)
    return keyring, audit


def _settle() -> None:
    """Wait until no server takes a key that was revoked: then the command is done."""
    from cloche.server.keyring import REMEMBERED_NS  # noqa: PLC0415

    time.sleep(REMEMBERED_NS / NS_PER_S)


def _document(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "scopes": list(key.scopes),
        "apps": list(key.apps),
        "created_ns": key.created_ns,
        "expires_ns": key.expires_ns,
        "used_ns": key.used_ns,
        "revoked_ns": key.revoked_ns,
    }


def _show_new(key: Key, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({**_document(key), "key": text})
    else:
        typer.echo(text)
        typer.echo("Keep it now: it is not shown again.", err=True)


@app.command("new")
def new_command(
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="run, session, approve, app or admin; repeatable."),
    ] = None,
    tenant: Tenant = "default",
    apps: Annotated[
        list[str] | None,
        typer.Option("--app", help="For this app alone, with --scope app; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What people call it.")] = "",
    expires: Annotated[
        str | None, typer.Option("--expires", help="After how long it ends, such as 12h.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once.

    Without a scope it may run, and use sessions; with --app it is for this app alone.
    """
    from cloche.limits import parse_quantity  # noqa: PLC0415

    expires_ns = None
    if expires is not None:
        expires_ns = time.time_ns() + parse_quantity(expires, "ms") * NS_PER_MS
    usual = ("app",) if apps else ("run", "session")
    scopes: Any = tuple(scope or usual)
    keyring, audit = _opened(store)
    with audit.noted(tenant, None, "key.make", name, {"tenant": tenant, "scopes": scopes}):
        key, text = keyring.make(
            tenant=tenant, scopes=scopes, name=name, expires_ns=expires_ns, apps=tuple(apps or ())
        )
    _show_new(key, text, as_json=as_json)


@app.command("list")
def list_command(tenant: Tenant = "default", store: Store = None, as_json: AsJson = False) -> None:
    """List the keys of a tenant, revoked ones too."""
    keys = _opened(store)[0].of(tenant)
    if as_json:
        print_json({"keys": [_document(key) for key in keys]})
        return
    now_ns = time.time_ns()
    rows = [
        [
            key.id,
            key.name,
            " ".join([*key.scopes, *(f"({app})" for app in key.apps)]),
            "good" if key.is_good(now_ns) else "ended",
            _time(key.created_ns),
            _time(key.used_ns),
            _time(key.ends_ns()),
        ]
        for key in keys
    ]
    table(
        "Keys", ["id", "name", "scopes", "state", "made", "last used", "ends"], rows, whole={"id"}
    )


def _time(time_ns: int | None) -> str:
    return "" if time_ns is None else time_text(time_ns)


@app.command("rotate")
def rotate_command(
    key: KeyId,
    tenant: Tenant = "default",
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long the old one is still good.")
    ] = "0s",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Make a key that may do the same, and end the old one."""
    from cloche.limits import parse_quantity  # noqa: PLC0415

    overlap_ms = parse_quantity(overlap, "ms")
    keyring, audit = _opened(store)
    with audit.noted(tenant, None, "key.rotate", key):
        made, text = keyring.rotate(tenant, key, overlap_ms=overlap_ms)
    _settle()
    _show_new(made, text, as_json=as_json)


@app.command("revoke")
def revoke_command(key: KeyId, store: Store = None, as_json: AsJson = False) -> None:
    """End a key now, whose it may be."""
    keyring, audit = _opened(store)
    with audit.noted(keyring.get(key).tenant, None, "key.revoke", key):
        ended = keyring.revoke(None, key)
    _settle()
    if as_json:
        print_json(_document(ended))
    else:
        typer.echo(f"{ended.id} of {ended.tenant} has ended")
