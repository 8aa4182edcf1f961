"""Which app a request is for, and which of its versions.

Pure. Invariants:
- a host name that an app has is asked before any prefix; of host names the exact one before a
  wildcard, of wildcards and of prefixes the longest;
- a prefix stands for whole segments: `/shop` gets `/shop` and `/shop/x`, not `/shopping`;
- one client sees one version of an app as long as the shares stay as they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

OWN_TENANT: Final = "default"  # of who runs the server
SHARE_MAX: Final = 100
WILDCARD: Final = "*."  # in front of a host name: every name below


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AppName:
    """An app: the tenant that it belongs to, and what the tenant calls it."""

    tenant: str
    name: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a request leads to.

    Args:
        app: whom.
        prefix: the part of the path that led there, without its slash at the end; empty when the
            host did.
    """

    app: AppName
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes of a server.

    Args:
        hosts: app by host name, lowercase; `*.` in front for every name below.
        prefixes: app by prefix of the path, without a slash at the end.
    """

    hosts: dict[str, AppName] = field(default_factory=dict)
    prefixes: dict[str, AppName] = field(default_factory=dict)

    def find(self, host: str, path: str) -> Found | None:
        """Return where a request leads to, None when no app is asked.

        Args:
            host: of the request, with or without a port, in any case.
            path: of the request, begins with `/`.
        """
        app = self._of_host(host_name(host))
        if app is not None:
            return Found(app=app)
        prefix = path.rstrip("/") if path.strip("/") else ""
        while prefix:
            app = self.prefixes.get(prefix)
            if app is not None:
                return Found(app=app, prefix=prefix)
            prefix = prefix.rpartition("/")[0]
        return None

    def _of_host(self, name: str) -> AppName | None:
        app = self.hosts.get(name)
        rest = name
        while app is None and "." in rest:
            rest = rest.partition(".")[2]
            app = self.hosts.get(WILDCARD + rest)
        return app


def host_name(host: str) -> str:
    """Return a host without its port, in lowercase, without a dot at the end."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower().rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Which versions of an app answer.

    Args:
        live: the id of the version that answers.
        canary: the id of one that answers a share of the clients; empty for none.
        share: how many of a hundred clients.
    """

    live: str
    canary: str = ""
    share: int = 0

    def version_for(self, sticky: str) -> str:
        """Return the version for a client.

        Args:
            sticky: what names the client: an address, or the value of a cookie.
        """
        if not self.canary or self.share <= 0:
            return self.live
        digest = hashlib.sha256(f"{self.canary}\0{sticky}".encode()).digest()
        # 64 bits modulo 100: no share is off by more than 10^-17.
        is_chosen = int.from_bytes(digest[:8], "big") % SHARE_MAX < self.share
        return self.canary if is_chosen else self.live
