"""The tables of the file of lists, secrets and log, and what stands in their columns.

Invariant: a file of any former version becomes one of `VERSION` by the statements in `UPGRADES`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from cloche.egress.allowlist import Entry
    from cloche.egress.secrets import Secret

VERSION: Final = 2
TABLES: Final = """
create table if not exists entries (
    scope text not null, position integer not null, identity text not null, document text not null,
    created_ns integer not null, primary key (scope, identity));
create table if not exists secrets (
    scope text not null, name text not null, document text not null, sealed blob not null,
    former blob, former_until_ns integer, created_ns integer not null, updated_ns integer not null,
    used_ns integer, primary key (scope, name));
create table if not exists log (
    id integer primary key, at_ns integer not null, run_id text not null, scope text not null,
    outcome text not null, method text not null, host text not null, path text not null,
    status integer, code text, reason text, duration_ms integer not null,
    request_bytes integer not null, response_bytes integer not null,
    tenant text not null default '');
create index if not exists log_host on log (host, at_ns);
create table if not exists counters (name text primary key, value integer not null);
create table if not exists caches (
    process text primary key, at_ns integer not null, document text not null);
"""
# From each version to the next.
UPGRADES: Final = {
    1: "alter table log add column tenant text not null default ''; pragma user_version = 2;",
}


def lives(process: str) -> bool:
    """Whether the process that wrote a row is there still."""
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True  # somebody else's
    except (OSError, ValueError, OverflowError):
        return False
    return True


def identity_of(entry: Entry) -> str:
    """Return what makes two entries of a list the same."""
    return msgspec.json.encode(
        [entry.host, sorted(entry.methods), sorted(entry.paths), sorted(entry.ports)]
    ).decode()


def former_of(scope: str, name: str) -> bytes:
    """Return what the former values of a secret are sealed with."""
    return f"former {scope} {name}".encode()


def bindings_of(secret: Secret) -> str:
    """Return what is kept in the clear of a secret: all but its values."""
    document = msgspec.to_builtins(secret)
    for name in ("value", "former"):
        del document[name]
    return msgspec.json.encode(document, order="sorted").decode()


def tuples(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with its lists as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
