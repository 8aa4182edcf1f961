"""Keys: what they look like, what is kept of them, what they may do.

Pure: randomness and time are arguments. Invariants:
- the secret of a key is in what `make` returns and nowhere else; kept is its SHA-256;
- a key that is unknown, revoked or expired is no key, and nobody is told which of these it is.

A fast hash is right: a secret has 256 random bits, so that guessing is hopeless at any speed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, Literal, get_args

from cloche.server.errors import InvalidFieldError

Scope = Literal["run", "session", "approve", "app", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

DEFAULT_TENANT: Final = "default"
PREFIX: Final = "clk"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
RANDOM_BYTES: Final = ID_BYTES + SECRET_BYTES

_KEY: Final = re.compile(r"clk_([a-z2-7]{12})_[A-Za-z0-9_-]{43}")
_ID_LENGTH: Final = 12
_TENANT: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME_LENGTH_MAX: Final = 100
_APP_COUNT_MAX: Final = 100
# 9999-12-31T23:59:59Z: what every calendar can show.
EXPIRES_NS_MAX: Final = 253_402_300_799_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept.

    Args:
        id: the part of it that names it; not secret.
        tenant: for whom it acts.
        name: what people call it.
        scopes: sorted, each once.
        digest: SHA-256 of the whole key, 32 bytes.
        apps: the only apps that it is for, sorted; empty for all of the tenant.
        created_ns: and the other times: nanoseconds of the Unix epoch, None for never.
    """

    id: str
    tenant: str
    name: str
    scopes: tuple[Scope, ...]
    digest: bytes
    created_ns: int
    apps: tuple[str, ...] = ()
    expires_ns: int | None = None
    used_ns: int | None = None
    revoked_ns: int | None = None

    @property
    def shown(self) -> str:
        """Who acts with it, as records say it: its name and its id."""
        return f"{self.name} ({self.id})" if self.name else f"key {self.id}"

    def ends_ns(self) -> int | None:
        """Return from when on it is no key, None if that is never."""
        ends = [time for time in (self.expires_ns, self.revoked_ns) if time is not None]
        return min(ends) if ends else None

    def is_good(self, now_ns: int) -> bool:
        """Whether it is neither expired nor revoked."""
        ends_ns = self.ends_ns()
        return ends_ns is None or now_ns < ends_ns

    def may(self, scope: Scope) -> bool:
        """Whether it has a scope; admin has all."""
        return scope in self.scopes or "admin" in self.scopes

    def may_use(self, app: str) -> bool:
        """Whether it is for an app of its tenant, as far as it is for apps."""
        return not self.apps or app in self.apps


def make(
    randomness: bytes,
    *,
    tenant: str,
    name: str,
    scopes: tuple[Scope, ...],
    now_ns: int,
    expires_ns: int | None = None,
    apps: tuple[str, ...] = (),
) -> tuple[Key, str]:
    """Return a key as it is kept, and as its owner has to keep it.

    Args:
        randomness: `RANDOM_BYTES` that nobody can guess.
        tenant: see `check_tenant`.
        name: up to 100 printable characters.
        scopes: at least one.
        now_ns: now.
        expires_ns: after now and not behind the year 9999, or None for never.
        apps: names of the apps that it is for, with the scope `app` alone; empty for all.

    Raises:
        InvalidFieldError: one of these is not so.
    """
    assert len(randomness) == RANDOM_BYTES
    check_tenant(tenant)
    if len(name) > _NAME_LENGTH_MAX or not name.isprintable():
        raise InvalidFieldError(
            field="name", problem=f"it has up to {_NAME_LENGTH_MAX} characters, all printable"
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidFieldError(field="scopes", problem=f"at least one of {', '.join(SCOPES)}")
    if expires_ns is not None and expires_ns <= now_ns:
        raise InvalidFieldError(field="expires", problem="it is not in the future")
    if expires_ns is not None and expires_ns > EXPIRES_NS_MAX:
        problem = "it is behind the year 9999; leave it out for a key that does not end"
        raise InvalidFieldError(field="expires", problem=problem)
    if apps and set(scopes) != {"app"}:
        raise InvalidFieldError(field="apps", problem="such a key has the scope app alone")
    if len(apps) > _APP_COUNT_MAX or not all(map(_TENANT.fullmatch, apps)):
        problem = f"up to {_APP_COUNT_MAX} names of apps"
        raise InvalidFieldError(field="apps", problem=problem)
    identity = b32encode(randomness[:ID_BYTES]).decode().lower()[:_ID_LENGTH]
    secret = urlsafe_b64encode(randomness[ID_BYTES:]).decode().rstrip("=")
    text = f"{PREFIX}_{identity}_{secret}"
    key = Key(
        id=identity,
        tenant=tenant,
        name=name,
        scopes=tuple(sorted(set(scopes))),
        digest=digest_of(text),
        created_ns=now_ns,
        apps=tuple(sorted(set(apps))),
        expires_ns=expires_ns,
    )
    return key, text


def id_in(text: str) -> str | None:
    """Return the id that a key has in it, None when this is no key."""
    match = _KEY.fullmatch(text)
    return None if match is None else match[1]


def digest_of(text: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(text.encode()).digest()


def is_proof(key: Key | None, text: str, now_ns: int) -> bool:
    """Whether a text is this key, and the key is good now. Takes the same time in every case."""
    kept = bytes(SECRET_BYTES) if key is None else key.digest
    is_same = hmac.compare_digest(kept, digest_of(text))
    return key is not None and is_same and key.is_good(now_ns)


def check_tenant(tenant: str) -> None:
    """Raise unless this is a name for a tenant.

    Raises:
        InvalidFieldError: it is not.
    """
    if _TENANT.fullmatch(tenant) is None:
        raise InvalidFieldError(
            field="tenant", problem="it has 1 to 63 of a-z, 0-9 and -, and no - at its ends"
        )
