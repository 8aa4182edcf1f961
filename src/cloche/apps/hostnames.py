"""Which host names an app may have: those below its tenant's suffix, and those that were given.

Pure. Invariants:
- below the domain of apps a name has one owner, whatever is deployed: `NAME.DOMAIN` is for the apps
  of who runs the server, everything below `TENANT.DOMAIN` for those of this tenant;
- any other name is given by who runs the server: it is listed for a tenant, or deployed by hand;
- no app gets a name by which the server itself is asked, nor a wildcard above one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from cloche.apps.errors import AppNamesError, AppRouteError
from cloche.apps.routing import OWN_TENANT, WILDCARD, AppName, host_name

if TYPE_CHECKING:
    from collections.abc import Mapping

Deployer = Literal["operator", "admin", "deployer"]
"""Who runs the server; a key with the scope `admin`; one that may deploy."""

_HOST: Final = re.compile(
    r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_HOST_LENGTH_MAX: Final = 253
# A host whose last label is a number is an address (the URL standard, "ends in a number").
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL: Final = "localhost"


def is_host_name(text: str) -> bool:
    """Whether this is a host name in lowercase, perhaps with `*.` in front."""
    return len(text) <= _HOST_LENGTH_MAX and _HOST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNames:
    """The names that apps of one server may have.

    Args:
        domain: apps answer at `NAME.DOMAIN`.
        listed: names that are given, by tenant; `*.` in front gives every name below.
        own: names by which the server itself is asked.
    """

    domain: str = _LOCAL
    listed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own: frozenset[str] = frozenset()

    def of(self, name: AppName) -> str:
        """Return the name that an app has anyway."""
        label = name.name if name.tenant == OWN_TENANT else f"{name.name}.{name.tenant}"
        return f"{label}.{self.domain}"

    def is_own(self, host: str) -> bool:
        """Whether the host of a request, with or without a port, is the server itself."""
        return bool(self.own) and host_name(host) in self.own

    def is_for_apps(self, host: str) -> bool:
        """Whether the host of a request is a name that apps may have, deployed or not."""
        name = host_name(host)
        if name in self.own:
            return False
        if self._owner(name) is not None:
            return True
        return any(_covers(given, name) for some in self.listed.values() for given in some)

    def check(self, name: AppName, host: str, deployer: Deployer, *, is_held: bool) -> None:
        """Refuse a name that an app may not have.

        Args:
            name: the app.
            host: the name, `*.` in front for every name below.
            deployer: who asks for it.
            is_held: whether the app has the name already.

        Raises:
            AppRouteError: the name is the server's, another tenant's, or nobody gave it.
        """
        self._check_own(host)
        owner = self._owner(host)
        if owner is not None and owner != name.tenant:
            raise AppRouteError(route=host, problem=self._conflict(owner))
        if owner is not None or deployer == "operator" or is_held:
            return
        if not any(_covers(given, host) for given in self.listed.get(name.tenant, ())):
            raise AppRouteError(
                route=host,
                problem=f"is not below {self._suffix(name.tenant)}, and the server does not list "
                f"it for apps of {name.tenant}; ask who runs it for --app-hostnames",
            )
        if deployer != "admin":
            problem = "leads to no app yet, and a key with the scope admin has to say so"
            raise AppRouteError(route=host, problem=problem)

    def _check_own(self, host: str) -> None:
        plain = host.removeprefix(WILDCARD)
        is_address = _NUMBER.fullmatch(plain.rpartition(".")[2]) is not None
        is_above = f".{self.domain}".endswith(f".{plain}")
        if is_address or is_above or plain == _LOCAL or host in self.own:
            raise AppRouteError(route=host, problem="is a name of the server itself")
        taken = sorted(each for each in self.own if _covers(host, each))
        if taken:
            raise AppRouteError(
                route=host, problem=f"would take {taken[0]}, a name of the server itself"
            )

    def _owner(self, host: str) -> str | None:
        """Return the tenant whose apps alone may have a name, None where no suffix says."""
        below = f".{self.domain}"
        if not host.endswith(below):
            return None
        label, dot, last = host.removesuffix(below).rpartition(".")
        return last if dot and label else OWN_TENANT

    def _suffix(self, tenant: str) -> str:
        return self.domain if tenant == OWN_TENANT else f"{tenant}.{self.domain}"

    def _conflict(self, owner: str) -> str:
        if owner == OWN_TENANT:
            return f"is for apps of the tenant {OWN_TENANT}; yours are below another name"
        return (
            f"is below {owner}.{self.domain}, where the apps of a tenant {owner} answer; "
            f"an app {owner} has {owner}.{self.domain} alone"
        )


def _covers(pattern: str, host: str) -> bool:
    """Whether a pattern is a name, or has it below it; a wildcard is below a wider one."""
    if pattern == host:
        return True
    return pattern.startswith(WILDCARD) and host.removeprefix(WILDCARD).endswith(pattern[1:])


def host_names(
    domain: str = _LOCAL, *, listed: tuple[str, ...] = (), own: tuple[str, ...] = ()
) -> HostNames:
    """Return the rules that a configuration says.

    Args:
        domain: apps answer at `NAME.DOMAIN`.
        listed: `NAME`, for the tenant `default`, or `TENANT=NAME`.
        own: names of the server itself.

    Raises:
        AppNamesError: one is no name, or cannot be given.
    """
    names = frozenset(_checked(each) for each in own)
    if any(each.startswith(WILDCARD) for each in names):
        raise AppNamesError(name=next(iter(own)), problem="is no one name; name each of the server")
    by_tenant: dict[str, tuple[str, ...]] = {}
    for entry in listed:
        tenant, equals, text = entry.rpartition("=")
        tenant, host = tenant if equals else OWN_TENANT, _checked(text)
        if host in names:
            raise AppNamesError(name=entry, problem="is a name of the server itself")
        if f".{host}".endswith(f".{domain}"):
            raise AppNamesError(
                name=entry, problem=f"is below {domain}, where names follow from tenants and apps"
            )
        by_tenant[tenant] = (*by_tenant.get(tenant, ()), host)
    return HostNames(domain=domain, listed=by_tenant, own=names)


def _checked(text: str) -> str:
    name = text.lower().rstrip(".")
    if not is_host_name(name):
        raise AppNamesError(name=text, problem="is no host name")
    return name
