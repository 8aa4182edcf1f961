"""What would happen to a call: the rules that it would meet, in their order.

Nothing is sent; names are looked up only where that is asked for.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final

from cloche.egress.adapters.connector import PinnedResolver, SystemResolver
from cloche.egress.adapters.own import own_addresses
from cloche.egress.addresses import blocked
from cloche.egress.allowlist import NetPolicy, RuleSet, decide
from cloche.egress.entry_text import entry_of_text
from cloche.egress.errors import NetAuthError, NetBlockedError, NetError
from cloche.egress.message import request_of
from cloche.egress.secrets import Secret, check_use

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.egress.adapters.database import NetDatabase
    from cloche.egress.allowlist import Decision
    from cloche.egress.message import NetRequest
    from cloche.egress.url import Address, Url
    from cloche.limits import Limits

Verdict = dict[str, Any]
_NO_VALUE: Final = "not the value"


def explain(
    database: NetDatabase,
    limits: Limits,
    *,
    url: str,
    method: str,
    scopes: Sequence[str],
    tenant: str = "",
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
    secret: str | None = None,
    resolve: bool = False,
) -> Verdict:
    """Return the verdict about a call as JSON-ready data: `allowed`, and `steps` that led to it.

    Args:
        database: has lists and secrets.
        limits: in force.
        url: of the call.
        method: of the call.
        scopes: lists that are asked after the run's own.
        tenant: whose lists these are.
        allow: entries of the run's own list.
        deny: the same, refused.
        secret: that the call would use.
        resolve: whether the host's addresses are looked up and checked.

    Raises:
        NetPolicyError: an entry is none.
    """
    policy = NetPolicy(
        allow=[entry_of_text(text) for text in allow],
        deny=[entry_of_text(text, action="deny") for text in deny],
        scopes=tuple(scopes),
        tenant=tenant,
    )
    verdict: Verdict = {"url": url, "method": method, "allowed": False, "steps": []}
    try:
        request = request_of({"url": url, "method": method}, limits)
        verdict |= {"url": request.url.text, "method": request.method, "host": request.url.host}
        _step(verdict, "url", "is well formed")
        own = RuleSet("run", policy.entries)
        decision = decide(request.url, request.method, [own, *map(database.rules, policy.lists)])
        _check_lists(verdict, decision, request, limits)
        if secret is not None:
            _check_secret(verdict, database, secret, policy.secret_lists, request)
        if resolve:
            _check_addresses(verdict, request.url, limits)
    except NetError as error:
        verdict |= {"code": error.code, "reason": error.reason}
        _step(verdict, _ROOMS.get(error.reason, "url"), error.message)
        return verdict
    verdict["allowed"] = True
    return verdict


# Which step an error belongs to where it is not about the URL.
_ROOMS = {"dns": "addresses", "resolve": "addresses", "address": "addresses", "secret": "secret"}
_ROOMS |= dict.fromkeys(
    ("denied", "unlisted", "scheme", "port", "method", "path", "literal"), "lists"
)


def _step(verdict: Verdict, rule: str, says: str) -> None:
    verdict["steps"].append({"rule": rule, "says": says})


def _check_lists(verdict: Verdict, decision: Decision, request: NetRequest, limits: Limits) -> None:

    entry = decision.entry
    verdict["scope"] = decision.scope or None
    verdict["entry"] = None if entry is None else entry.to_document()
    if not decision.allowed:
        raise NetBlockedError(decision.explanation, reason=decision.reason, host=request.url.host)
    _step(verdict, "lists", decision.explanation)
    assert entry is not None
    net = limits.net
    verdict["limits"] = {
        "rate_limit": entry.rate_limit or net.rate_limit,
        "rate_burst": entry.rate_burst or net.rate_burst,
        "timeout_ms": min(entry.timeout_ms or net.call_timeout, net.call_timeout),
        "max_response": entry.max_response or net.max_response,
        "cache_ttl_s": entry.cache_ttl_s,
    }


def _check_secret(
    verdict: Verdict, database: NetDatabase, name: str, scopes: Sequence[str], request: NetRequest
) -> None:

    rows = {row.scope: row for row in database.secrets() if row.name == name}
    row = next((rows[scope] for scope in scopes if scope in rows), None)
    if row is None:
        raise NetAuthError(f"secret {name!r} not found", reason="secret", secret=name)
    # Where it may go is not sealed: the key stays out of this.
    bindings = Secret(
        name=name,
        value=_NO_VALUE,
        inject_as="placeholder",
        domains=row.domains,
        methods=row.methods,
        paths=row.paths,
        ports=row.ports,
    )
    check_use(bindings, request.url, request.method)
    _step(verdict, "secret", f"{name} of {row.scope} goes to {', '.join(row.domains)}")


def _check_addresses(verdict: Verdict, url: Url, limits: Limits) -> None:

    check = functools.partial(blocked, own=own_addresses())
    found: list[dict[str, Any]] = []
    verdict["addresses"] = found

    def noted(address: Address) -> Any:
        refusal = check(address)
        found.append(
            {
                "address": str(address),
                "allowed": refusal is None,
                "reason": None if refusal is None else f"{refusal.reason} ({refusal.source})",
            }
        )
        return refusal

    pinned = PinnedResolver(SystemResolver(), noted, limits)
    asyncio.run(pinned.resolve(url.host, url.port))
    _step(verdict, "addresses", ", ".join(item["address"] for item in found))
