"""How an outbound call fails.

Owns the eight stable codes that a guest branches on, and the errors of the room's own settings.
Invariants:
- a message never holds a query, a header value, a body or a secret: it reaches guests, journals
  and logs;
- `retryable` says whether the same call may succeed in the same run without any change;
- the codes and their meaning are those of the network error table in `docs/egress.md`.

It does not decide anything.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from cloche.errors import Blame, ClocheError

NetCode = Literal[
    "NET_BLOCKED",
    "NET_TIMEOUT",
    "NET_LIMIT",
    "NET_BUDGET",
    "NET_SIZE",
    "NET_ERROR",
    "NET_AUTH",
    "NET_RATE",
]


class NetError(ClocheError):
    """An outbound call failed without a response.

    Args:
        message: what happened and what would help; no part of a query, header or body.
        reason: one stable word that says which rule or step it was.
        retryable: whether trying again in this run can help.
        retry_after_ms: when, if that is known.
        fields: more data, such as `host`.
    """

    code = "NET_ERROR"
    blame: ClassVar[Blame] = "remote"
    reason: str
    retry_after_ms: int | None

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        retryable: bool = False,
        retry_after_ms: int | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(
            message, reason=reason, retryable=retryable, retry_after_ms=retry_after_ms, **fields
        )


class NetBlockedError(NetError):
    """A rule forbids it: URL, allowlist, address, header or redirect. Nothing more is sent."""

    code = "NET_BLOCKED"
    blame = "guest"


class NetTimeoutError(NetError):
    """A step took longer than its limit. The other side may have acted on the request."""

    code = "NET_TIMEOUT"


class NetLimitError(NetError):
    """Too many calls: at the same time (retryable) or in this run (not). Nothing was sent."""

    code = "NET_LIMIT"
    blame = "limit"


class NetBudgetError(NetError):
    """The run's time or bytes for calls are used up. Nothing more is sent."""

    code = "NET_BUDGET"
    blame = "limit"


class NetSizeError(NetError):
    """A request or a response is larger than its limit. A body is never cut short in silence."""

    code = "NET_SIZE"
    blame = "limit"


class NetAuthError(NetError):
    """A secret does not exist, or may not be used for this call. Nothing was sent."""

    code = "NET_AUTH"
    blame = "guest"


class NetRateError(NetError):
    """Calls to this host come too fast, or it failed too often. Nothing was sent."""

    code = "NET_RATE"
    blame = "limit"


class NetPolicyError(ClocheError):
    """A policy, an entry or a secret cannot be as given. State: nothing was changed."""

    code = "NET_POLICY_INVALID"
    blame = "caller"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"{where} {problem}", where=where, problem=problem)


class NetStoreError(ClocheError):
    """The place of allowlist, secrets and log cannot be read or written, or has another key."""

    code = "NET_STORE"
    blame = "environment"

    def __init__(self, *, action: str, reason: str) -> None:
        super().__init__(f"cannot {action}: {reason}", action=action, reason=reason)
