"""Entries as people write them on one line.

    [METHOD[,METHOD…] ][http://|https://]HOST[:PORT][/PREFIX]

`http://` lets plain http pass too. What is not said is as in `Entry`: every method, https alone,
port 443, every path. A line with user, query or fragment is refused: no rule looks at these.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from cloche.egress.allowlist import Entry
from cloche.egress.errors import NetPolicyError

_FORM: Final = re.compile(
    r"(?:(?P<methods>[^\s/]+)\s+)?"
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<host>\[[^\]]*\]|[^/:\s]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/\S*)?"
)
_HELP: Final = "give [METHOD[,METHOD] ][https://]HOST[:PORT][/PATH]"


def entry_of_text(
    text: str, *, action: Literal["allow", "deny"] = "allow", **settings: int
) -> Entry:
    """Return the entry that a line says.

    Args:
        text: the line.
        action: what it does.
        settings: numbers of `Entry`, such as `timeout_ms`.

    Raises:
        NetPolicyError: it says none.
    """
    stripped = text.strip()
    if not stripped or stripped in ("*", "*.*"):
        raise NetPolicyError(where=repr(text), problem="would allow everything: name the hosts")
    if stripped.count(":") > 1 and re.fullmatch(r"[0-9A-Fa-f:.]+", stripped):
        stripped = f"[{stripped}]"  # a bare IPv6 address
    found = _FORM.fullmatch(stripped)
    if found is None or re.search(r"[@?#]", stripped):
        raise NetPolicyError(where=repr(text), problem=f"is no entry: {_HELP}")
    scheme = (found["scheme"] or "https").lower()
    if scheme not in ("http", "https"):
        raise NetPolicyError(
            where=repr(text), problem=f"has the scheme {scheme}: it is https or http"
        )
    return Entry(
        host=found["host"],
        action=action,
        http=scheme == "http",
        ports=(int(found["port"]),) if found["port"] else (),
        methods=tuple(found["methods"].split(",")) if found["methods"] else (),
        paths=(found["path"],) if found["path"] not in (None, "/") else (),
        **settings,
    )


def text_of_entry(entry: Entry) -> str:
    """Return one line for an entry; several ports or paths are shown as a list."""
    methods = ",".join(entry.methods) + " " if entry.methods else ""
    host = f"[{entry.host}]" if ":" in entry.host else entry.host
    ports = ":" + ",".join(map(str, entry.ports)) if entry.ports else ""
    scheme = "http://" if entry.http else "https://"
    return f"{methods}{scheme}{host}{ports}{','.join(entry.paths)}"
