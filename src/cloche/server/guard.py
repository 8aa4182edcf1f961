"""What every route stands behind: who asks, whether they may, and whether they asked before.

Owns the order: key, scope, no body where none is read, Idempotency-Key, errors made answers,
handler. Invariants:
- nobody without a good key learns whether a route needs another scope, or an object exists;
- an answer is kept before it is sent;
- what another room raises is answered in the one shape, and tells nothing of the store's place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.server.answers import digest_of, run_id_for
from cloche.server.errors import InvalidFieldError, ScopeError, status_of, unavailable
from cloche.server.keys import PREFIX
from cloche.web.errors import HttpError, UnauthorizedError
from cloche.web.middleware.auth import bearer
from cloche.web.response import Response, error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.limits import Limits
    from cloche.server.answers import Answers, KeptAnswer
    from cloche.server.keyring import Keyring
    from cloche.server.keys import Key, Scope
    from cloche.server.operations import Operation
    from cloche.server.ports import Bell, Host
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request

UNPROCESSABLE: Final = 422
REALM: Final = "cloche"
CHALLENGE: Final = f'Bearer realm="{REALM}"'
RUN_HEADER: Final = b"cloche-run"
REPLAYED: Final = (b"idempotency-replayed", b"true")
_NOTHING: Final = (b"", b"{}")  # bodies that ask for nothing
_KEPT_FIELDS: Final = frozenset({b"content-type", b"location", RUN_HEADER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Makes the middleware of routes.

    Args:
        rejoin: returns the answer that a run's events are, for a kept answer that was a stream.
        looked_up: who waits for a key that is being looked up, by its text; for one event loop.
    """

    host: Host
    limits: Limits
    keyring: Keyring
    answers: Answers
    rejoin: Callable[[Request, str], Awaitable[Response]]
    looked_up: dict[str, list[Bell]] = field(default_factory=dict)

    def of(self, operation: Operation) -> tuple[Middleware, ...]:
        """Return what stands before a route, outermost first."""
        if operation.access == "anybody":
            return (self.errors(),)
        known = (self.errors(), self.key(operation.scope))
        taken = (self.once(operation), self.errors())
        return (*known, *taken) if takes_body(operation) else (*known, self.no_body(), *taken)

    def errors(self) -> Middleware:
        """Answer what the rooms raise."""

        async def middleware(request: Request, following: Next) -> Response:
            try:
                return await following(request)
            except HttpError:
                raise
            except ClocheError as raised:
                away = unavailable(raised, retry_after_ms=self.limits.server.retry_after_ms)
                if away is not None:
                    request.services.log(
                        {"event": "store", "code": raised.code, "message": raised.message}
                    )
                    raise away from raised
                status = status_of(raised)
                if status is None:
                    raise
                answer = error(raised, status)
                # What is malformed is so in a second, too: it may be sent again when it is mended.
                if raised.retryable and status != UNPROCESSABLE:
                    seconds = -(-self.limits.server.retry_after_ms // 1000)
                    answer = answer.with_field(b"retry-after", b"%d" % seconds)
                return answer

        return middleware

    def key(self, scope: Scope | None) -> Middleware:
        """Let pass who has a good key, with this scope where one is named."""

        async def check(text: str) -> Key | None:
            known = self.keyring.remembered(text)
            if known is None and text in self.looked_up:
                # Somebody looks already. What they find is taken as long as it is remembered.
                await self._looked_up(text)
                known = self.keyring.remembered(text)
            return known or await self._look_up(text)

        async def scoped(request: Request, following: Next) -> Response:
            if scope is not None and not request.context["user"].may(scope):
                raise ScopeError(needed=scope)
            return await following(request)

        identify = bearer(check, realm=REALM)

        async def middleware(request: Request, following: Next) -> Response:
            return await identify(request, lambda found: scoped(found, following))

        return middleware

    async def _look_up(self, text: str) -> Key | None:
        bells = self.looked_up.setdefault(text, [])
        try:
            return await self.host.call(lambda: self.keyring.owner_of(text))
        finally:
            if self.looked_up.get(text) is bells:
                del self.looked_up[text]
            for bell in bells:
                bell.ring()

    async def _looked_up(self, text: str) -> None:
        bell = self.host.bell()
        self.looked_up[text].append(bell)
        await bell.wait()

    def socket_key(self, scope: Scope) -> Middleware:
        """Let a WebSocket open for who has a good key with this scope.

        Pages cannot set fields of a handshake: they offer their key as a subprotocol, which is
        never the one that is taken.
        """
        behind_key = self.key(scope)

        async def middleware(request: Request, following: Next) -> Response:
            offered = [
                word.strip()
                for text in request.headers("sec-websocket-protocol")
                for word in text.split(",")
            ]
            keys = [word for word in offered if word.startswith(f"{PREFIX}_")]
            if len(keys) == 1 and not request.headers("authorization"):
                field = (b"authorization", f"Bearer {keys[0]}".encode())
                request.fields = (*request.fields, field)
            return await behind_key(request, following)

        return middleware

    def no_body(self) -> Middleware:
        """Refuse a body where none is read: what it asks for would not be done."""

        async def middleware(request: Request, following: Next) -> Response:
            body = await request.read_all(self.limits.server.body_limit_bytes)
            if body.strip() not in _NOTHING:
                problem = f"{request.method} {request.template} takes none; leave it out"
                raise InvalidFieldError(field="body", problem=problem)
            return await following(request)

        return middleware

    def once(self, operation: Operation) -> Middleware:
        """Answer a POST with an Idempotency-Key once, and the same afterwards."""

        async def middleware(request: Request, following: Next) -> Response:
            keys = request.headers("idempotency-key")
            if request.method != "POST" or not keys:
                return await following(request)
            return await self._once(request, ",".join(keys), following, operation.is_secret)

        return middleware

    async def _once(self, request: Request, key: str, following: Next, is_secret: bool) -> Response:
        tenant: str = request.context["user"].tenant
        body = await request.read_all(body_limit(self.limits))
        digest = digest_of(
            request.method,
            request.target,
            request.media_type,
            "events" if wants_events(request) else "",
            body,
        )
        kept = await self.host.call(lambda: self.answers.begin(tenant, key, digest))
        if kept is not None:
            return await self._again(request, kept)
        request.context["run_id"] = run_id_for(tenant, key)
        answer: Response | None = None
        try:
            answer = await following(request)
        except HttpError as raised:
            answer = error(raised)
        finally:
            # Whatever else happens, nobody is left waiting for an answer that never comes.
            if answer is None:
                await self.host.call(lambda: self.answers.forget(tenant, key))
        await self.host.call(lambda: self._keep(tenant, key, digest, answer, is_secret))
        return answer

    def _keep(self, tenant: str, key: str, digest: str, answer: Response, is_secret: bool) -> None:
        fields = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in answer.fields
            if name in _KEPT_FIELDS
        ]
        run_id = answer.get(RUN_HEADER)
        if not answer.is_stream:
            self.answers.keep(
                tenant,
                key,
                digest,
                status=answer.status,
                fields=fields,
                body=answer.body,
                is_secret=is_secret,
            )
        elif run_id is not None:
            self.answers.keep(
                tenant, key, digest, status=answer.status, fields=[], run_id=run_id.decode()
            )
        else:
            self.answers.forget(tenant, key)

    async def _again(self, request: Request, kept: KeptAnswer) -> Response:
        if kept.run_id is not None:
            answer = await self.rejoin(request, kept.run_id)
        else:
            assert kept.status is not None
            fields = tuple(
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.fields
            )
            answer = Response(kept.status, fields, kept.body)
        return answer.with_fields((REPLAYED,))


def takes_body(operation: Operation) -> bool:
    """Whether a route may read a body. On a DELETE one has no meaning, and none is looked for."""
    has_type = operation.body is not None or operation.request_type is not None
    return has_type or operation.method != "POST"


def body_limit(limits: Limits) -> int:
    """Return the most bytes that any route reads."""
    return max(limits.server.body_limit_bytes, limits.storage.max_upload)


def wants_events(request: Request) -> bool:
    """Whether a request asks for its answer as events."""
    accepted = (request.header("accept") or "").lower()
    return any(
        part.partition(";")[0].strip() == "text/event-stream" for part in accepted.split(",")
    )


def key_of(request: Request) -> Key:
    """Return the key that a request showed.

    Raises:
        UnauthorizedError: as `tenant_of`.
    """
    tenant_of(request)
    key: Key = request.context["user"]
    return key


def tenant_of(request: Request) -> str:
    """Return for whom a request acts.

    Raises:
        UnauthorizedError: no key let it pass; a route was built without its guard.
    """
    key: Any = request.context.get("user")
    if key is None:
        raise UnauthorizedError(challenge=CHALLENGE)
    tenant: str = key.tenant
    return tenant
