"""Webhooks: what is sent where, signed how, and when it is tried again.

Pure: time and keys are arguments. Invariants:
- a delivery has one id however often it is sent, so that who gets it twice can tell;
- the same happening makes the same id, so that it is told once however often it is noticed;
- the key that signs is derived, so that no store holds it.

Sources: Standard Webhooks 1.0.0 (headers, signature, retries); RFC 2104 (HMAC).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from cloche.egress.errors import NetError, NetPolicyError
from cloche.egress.url import parse_url
from cloche.server.errors import InvalidFieldError

Event = Literal["approval.requested", "run.ended", "script.ended", "ping"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
DeliveryState = Literal["pending", "failed"]

URL_LENGTH_MAX: Final = 2000
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how every secret of the standard begins
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
GONE: Final = 410
_ID_DIGITS: Final = 32
_BACKOFF_FACTOR: Final = 4
_SUCCESS: Final = range(200, 300)


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tenant wants to be told what.

    Args:
        id: names it.
        url: https, of a public address.
        events: sorted, each once.
        created_ms: when it was made.
        generation: counts the secrets that it has had, from 1.
        disabled: why nothing is sent any more; empty while it is.
    """

    id: str
    tenant: str
    url: str
    events: tuple[Event, ...]
    created_ms: int
    generation: int = 1
    disabled: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is to be told, until it was.

    Args:
        id: of the message; equal for each attempt.
        body: what is sent.
        next_ns: when it is tried next.
        problem: of the last attempt.
    """

    id: str
    webhook: str
    tenant: str
    event: Event
    body: str
    created_ns: int
    next_ns: int
    state: DeliveryState = "pending"
    attempt_count: int = 0
    problem: str = ""


def check_url(url: str) -> str:
    """Return a URL that messages may be sent to.

    Raises:
        InvalidFieldError: it is none. Whether its address is public is seen when it is called.
    """
    try:
        is_good = urlsplit(url).scheme == "https" and "@" not in url.partition("?")[0]
        # As the egress reads it: what that would refuse, or read another way, is refused here.
        parse_url(url, limit_bytes=URL_LENGTH_MAX)
    except (ValueError, NetError, NetPolicyError):
        is_good = False
    if not is_good or not url.isprintable():
        problem = f"a URL with https, without a user, of at most {URL_LENGTH_MAX} characters"
        raise InvalidFieldError(field="url", problem=f"it is {problem}")
    return url


def check_events(events: list[Event]) -> tuple[Event, ...]:
    """Return events in order; all when none are named."""
    return tuple(sorted(set(events))) or tuple(event for event in EVENTS if event != "ping")


def secret_of(key: bytes, webhook: Webhook) -> str:
    """Return what signs the messages of a webhook, as its receiver is told it.

    Args:
        key: of the server, 32 bytes, kept outside of its store.
        webhook: whose.
    """
    text = f"cloche webhook\0{webhook.tenant}\0{webhook.id}\0{webhook.generation}"
    derived = hmac.digest(key, text.encode(), "sha256")
    return SECRET_PREFIX + b64encode(derived).decode()


def delivery_of(
    webhook: Webhook, event: Event, data: dict[str, Any], *, name: str, now_ns: int
) -> Delivery:
    """Return what is to be told.

    Args:
        webhook: to whom.
        event: what happened.
        data: of it, plain JSON.
        name: of what it happened to: the same event of the same name is one message.
        now_ns: when.
    """
    text = f"{webhook.id}\0{event}\0{name}"
    message_id = f"msg_{hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]}"
    body = {"type": event, "timestamp_ms": now_ns // NS_PER_MS, "data": data}
    return Delivery(
        id=message_id,
        webhook=webhook.id,
        tenant=webhook.tenant,
        event=event,
        body=msgspec.json.encode(body).decode(),
        created_ns=now_ns,
        next_ns=now_ns,
    )


def headers_of(delivery: Delivery, secret: str, *, now_ns: int) -> dict[str, str]:
    """Return the fields of a message, signed for now."""
    seconds = now_ns // NS_PER_S
    signed = f"{delivery.id}.{seconds}.{delivery.body}".encode()
    digest = hmac.digest(b64decode(secret.removeprefix(SECRET_PREFIX)), signed, "sha256")
    return {
        "content-type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }


def after_attempt(
    delivery: Delivery,
    *,
    status: int | None,
    problem: str,
    now_ns: int,
    backoff_ms: int,
    backoff_ms_max: int,
    attempt_count_max: int,
) -> Delivery | None:
    """Return what becomes of a message that was sent, None when it was taken.

    Args:
        delivery: before.
        status: what was answered; None when nothing was.
        problem: then, why.
        now_ns: when.
        backoff_ms: until the second attempt; each one after waits four times as long.
        backoff_ms_max: and at most so long.
        attempt_count_max: after so many it has failed.
    """
    if status in _SUCCESS:
        return None
    count = delivery.attempt_count + 1
    # Bounded before it is raised to a power: numbers stay small.
    wait_ms = min(backoff_ms_max, backoff_ms * _BACKOFF_FACTOR ** min(count - 1, 32))
    return msgspec.structs.replace(
        delivery,
        attempt_count=count,
        state="failed" if count >= attempt_count_max or status == GONE else "pending",
        next_ns=now_ns + wait_ms * NS_PER_MS,
        problem=problem or f"it answered {status}",
    )
