"""Answers that are kept for an Idempotency-Key.

Owns the life of one: pending while the first request is being answered, then kept for
`server.idempotency_ms`. Invariants:
- of two requests with one key at the same time one is answered, the other is told to wait;
- a pending answer of a server that died is taken over by who asks next;
- only a success is kept: a refusal has changed nothing, and a repetition may find another state;
- an answer with a secret in it is kept sealed: the store alone gives nobody a key.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.errors import ClocheError
from cloche.server.errors import (
    InvalidFieldError,
    PendingKeyError,
    ReusedKeyError,
    StateError,
    seconds,
)
from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import Limits
    from cloche.server.ports import Sealer
    from cloche.store.ports import Store

_KIND: Final = "server.answers."
_KEY: Final = re.compile(r"[!-~]{1,200}")
NS_PER_MS: Final = 1_000_000
_RUN_ID_DIGITS: Final = 32
_FAILED: Final = 400
_SWEEP: Final = 1000


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, or the promise of one.

    Args:
        digest: of the request, so that another one is noticed.
        server: which is answering, while it is pending.
        created_ns: when the request came first.
        status: None while it is pending.
        fields: of the response, as text.
        body: its bytes; sealed where it `is_sealed`.
        run_id: instead of a body: the events of this run are the answer.
    """

    digest: str
    server: str
    created_ns: int
    status: int | None = None
    fields: list[tuple[str, str]] = []
    body: bytes = b""
    run_id: str | None = None
    is_sealed: bool = False


class Answers:
    """All answers that are kept in one store.

    Args:
        server: names this process, so that what a dead one left is known.
        sealer: seals what holds a secret; its key is not in the store.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        server: str,
        sealer: Sealer,
        now_ns: Callable[[], int],
    ) -> None:
        self._documents = store.documents
        self._limits = limits.server
        self._server = server
        self._sealer = sealer
        self._now_ns = now_ns

    def begin(self, tenant: str, key: str, digest: str) -> KeptAnswer | None:
        """Return the answer that is kept, or None: then answer, and call `keep` or `forget`.

        Raises:
            InvalidFieldError: it is no key.
            ReusedKeyError: another request had this key.
            PendingKeyError: the same one is being answered.
            StateError: the answer was sealed with a key that this server does not have.
        """
        if _KEY.fullmatch(key) is None:
            raise InvalidFieldError(
                field="Idempotency-Key", problem="it has 1 to 200 visible characters of ASCII"
            )
        while True:
            kept = self._documents.get(_KIND + tenant, key)
            if kept is not None:
                answer = msgspec.msgpack.decode(kept.data, type=KeptAnswer)
                if not self._may_be_replaced(answer, digest):
                    return self._opened(tenant, key, answer)
            if self._put(tenant, key, self._pending(digest), kept):
                return None

    def _may_be_replaced(self, answer: KeptAnswer, digest: str) -> bool:
        if self._is_over(answer):
            return True
        if answer.digest != digest:
            raise ReusedKeyError
        if answer.status is None and answer.server == self._server:
            raise PendingKeyError(retry_after_s=seconds(self._limits.retry_after_ms))
        return answer.status is None

    def _is_over(self, answer: KeptAnswer) -> bool:
        end_ns = answer.created_ns + self._limits.idempotency_ms * NS_PER_MS
        is_own_pending = answer.status is None and answer.server == self._server
        return self._now_ns() >= end_ns and not is_own_pending

    def _pending(self, digest: str) -> KeptAnswer:
        return KeptAnswer(digest=digest, server=self._server, created_ns=self._now_ns())

    def _put(self, tenant: str, key: str, answer: KeptAnswer, before: Document | None) -> bool:
        revision = 1 if before is None else before.revision + 1
        data = msgspec.msgpack.encode(answer)
        try:
            self._documents.put(
                Document(kind=_KIND + tenant, name=key, data=data, revision=revision)
            )
        except StoreChangedError:
            return False
        return True

    def keep(
        self,
        tenant: str,
        key: str,
        digest: str,
        *,
        status: int,
        fields: list[tuple[str, str]],
        body: bytes = b"",
        run_id: str | None = None,
        is_secret: bool = False,
    ) -> None:
        """Keep the answer to a request that `begin` let pass, if it is one to be kept.

        One that `is_secret` is sealed: nobody who reads the store may know it.

        Raises:
            ClocheError: it cannot be sealed. It is not kept: a repetition is answered afresh.
        """
        is_final = status < _FAILED
        if not is_final or len(body) > self._limits.idempotency_body_limit_bytes:
            self.forget(tenant, key)
            return
        if is_secret:
            body = self._sealed(tenant, key, body)
        answer = msgspec.structs.replace(
            self._pending(digest),
            status=status,
            fields=fields,
            body=body,
            run_id=run_id,
            is_sealed=is_secret,
        )
        self._put(tenant, key, answer, self._documents.get(_KIND + tenant, key))

    def _sealed(self, tenant: str, key: str, body: bytes) -> bytes:
        try:
            return self._sealer.seal(body.decode(), _bound_to(tenant, key))
        except ClocheError:
            self.forget(tenant, key)
            raise

    def _opened(self, tenant: str, key: str, answer: KeptAnswer) -> KeptAnswer:
        if not answer.is_sealed:
            return answer
        try:
            text = self._sealer.open("answer", answer.body, _bound_to(tenant, key))
        except ClocheError as error:
            raise StateError(
                kind="answer",
                id=key,
                state="sealed with another key of secrets",
                problem="give the server the key that it had, or use a new Idempotency-Key",
            ) from error
        return msgspec.structs.replace(answer, body=text.encode(), is_sealed=False)

    def forget(self, tenant: str, key: str) -> None:
        """Let the next request with a key be answered afresh."""
        self._documents.remove(_KIND + tenant, key)

    def sweep(self, tenant: str) -> int:
        """Remove a tenant's answers that are over; return how many."""
        count, after = 0, ""
        while page := self._documents.list(_KIND + tenant, after=after, limit=_SWEEP):
            after = page[-1].name
            for kept in page:
                if self._is_over(msgspec.msgpack.decode(kept.data, type=KeptAnswer)):
                    count += self._documents.remove(
                        _KIND + tenant, kept.name, revision=kept.revision
                    )
        return count


def _bound_to(tenant: str, key: str) -> bytes:
    """Return what a sealed answer is bound to, so that it opens nowhere else."""
    return f"cloche answer\0{tenant}\0{key}".encode()


def digest_of(method: str, target: str, media_type: str, accepted: str, body: bytes) -> str:
    """Return what tells two requests with one key apart."""
    digest = hashlib.sha256()
    for part in (method, target, media_type, accepted):
        digest.update(part.encode("utf-8", "replace") + b"\0")
    digest.update(body)
    return digest.hexdigest()


def run_id_for(tenant: str, key: str) -> str:
    """Return the id of the run that a request with this key starts: always the same."""
    text = f"{tenant}\0{key}".encode()
    return hashlib.sha256(b"cloche run\0" + text).hexdigest()[:_RUN_ID_DIGITS]
