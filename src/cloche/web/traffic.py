"""Recording what an application is asked and answers, with all that the answers followed from.

Owns the services that listen and those that repeat; the bytes are X7WT (`encodings.traffic`), and
where they go is the caller's `write`.
Invariants:
- what a client gets is the same whether it is recorded or not, only that its body is read first
  and streams have no heartbeats; also where an entry cannot be written, which is logged;
- an entry is written when its response is complete; what cannot be recorded is counted, not cut.

Recorded traffic has whatever clients sent, also passwords and cookies. `redact` names fields whose
values are not kept; what an application makes of them then cannot be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.web.app import answer_failure
from cloche.web.encodings.cassette import WebCassette
from cloche.web.encodings.errors import EncodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import HttpRequest, HttpResponse, Method
from cloche.web.encodings.traffic import Exchange, Told, encode_exchange
from cloche.web.request import BODY_LIMIT_BYTES
from cloche.web.response import Response, Upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from cloche.web.app import Middleware, Next
    from cloche.web.http1.events import Field
    from cloche.web.ports import Services
    from cloche.web.request import Request

REDACTED: Final = b"redacted"
_METHODS: Final = {method.value: method for method in Method}
_NOW, _MONOTONIC, _RANDOM = 1, 2, 3


class DivergedError(ClocheError):
    """Code asked the services for something else than when it was recorded. State: it stopped."""

    code = "WEB_REPLAY_DIVERGED"
    blame = "caller"

    def __init__(self, *, index: int, wanted: str) -> None:
        super().__init__(
            f"the code asks for {wanted} as its question {index}, and when it was recorded it "
            "asked for something else or had ended",
            index=index,
            wanted=wanted,
        )


class Recorder:
    """Middleware that writes each exchange. Put it outside of all other (`App.wrap`).

    Args:
        write: gets the bytes of each entry, in order of their ends.
        redact: names of fields, in lowercase, whose values are not kept.
        body_limit_bytes: larger requests are refused, larger responses are not recorded.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        redact: frozenset[str] = frozenset(),
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self.recorded_count = 0
        self.skipped_count = 0
        self._write = write
        self._redact = frozenset(name.lower().encode("latin-1") for name in redact)
        self._limit_bytes = body_limit_bytes

    def middleware(self) -> Middleware:
        """Return the middleware."""

        async def record(request: Request, following: Next) -> Response:
            if request.method not in _METHODS or request.headers("upgrade"):
                self.skipped_count += 1
                return await following(request)
            body = await request.read_all(self._limit_bytes)
            services = RecordingServices(request.services)
            request.services = services
            try:
                response = await following(request)
            except Exception as raised:  # noqa: BLE001 - what the client gets is recorded
                response = answer_failure(request, raised)
            if isinstance(response.body, bytes):
                self._keep(request, body, response, response.body, services)
                return response
            if isinstance(response.body, Upgrade):
                self.skipped_count += 1
                return response
            pieces = self._listen(request, body, response, services)
            return Response(response.status, response.fields, pieces, response.length)

        return record

    async def _listen(
        self, request: Request, body: bytes, response: Response, services: RecordingServices
    ) -> AsyncIterator[bytes]:
        kept: list[bytes] | None = []
        size = 0
        source = response.body
        try:
            async for piece in _pieces(source):
                size += len(piece)
                if size > self._limit_bytes:
                    kept = None
                if kept is not None:
                    kept.append(piece)
                yield piece
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()
        if kept is None:
            self.skipped_count += 1
        else:
            self._keep(request, body, response, b"".join(kept), services)

    def _keep(
        self,
        request: Request,
        body: bytes,
        response: Response,
        content: bytes,
        services: RecordingServices,
    ) -> None:
        try:
            asked = HttpRequest(
                method=_METHODS[request.method],
                target=request.target.encode("ascii"),
                headers=HeaderTable(self._shown(request.fields)),
                body=body,
            )
            answered = HttpResponse(
                status=response.status,
                headers=HeaderTable(self._shown(response.fields)),
                body=b"" if request.method == "HEAD" else content,
            )
            exchange = Exchange(
                pair=WebCassette(request=asked, response=answered),
                is_secure=request.scheme == "https",
                client=request.client,
                told=tuple(services.told),
            )
        except EncodeError:
            self.skipped_count += 1  # a target or field that no cassette has
            return
        try:
            self._write(encode_exchange(exchange))
        except ClocheError as failure:
            self.skipped_count += 1
            request.services.log({"event": "record_failed", "message": failure.message})
            return
        self.recorded_count += 1

    def _shown(self, fields: Any) -> tuple[Field, ...]:
        return tuple((name, REDACTED if name in self._redact else value) for name, value in fields)


class RecordingServices:
    """Services that keep what they tell."""

    def __init__(self, services: Services) -> None:
        self.told: list[Told] = []
        self._services = services

    def now_ns(self) -> int:
        """Return the time of day."""
        found = self._services.now_ns()
        self.told.append(Told(kind=_NOW, value=found))
        return found

    def monotonic_ns(self) -> int:
        """Return a time that never goes back."""
        found = self._services.monotonic_ns()
        self.told.append(Told(kind=_MONOTONIC, value=found))
        return found

    def random_bytes(self, count: int) -> bytes:
        """Return random bytes."""
        found = self._services.random_bytes(count)
        self.told.append(Told(kind=_RANDOM, value=found))
        return found

    async def within(self, work: Awaitable[Any], timeout_ms: int) -> Any:
        """Return the result of some work in time."""
        return await self._services.within(work, timeout_ms)

    def heartbeat(
        self, pieces: AsyncIterable[bytes], interval_ms: int, beat: bytes
    ) -> AsyncIterable[bytes]:
        """Return the pieces alone, as when they are replayed."""
        del interval_ms, beat
        return pieces

    def log(self, record: Mapping[str, object]) -> None:
        """Write a record."""
        self._services.log(record)


class RepeatingServices:
    """Services that tell again what they told when a request was recorded."""

    def __init__(self, told: tuple[Told, ...]) -> None:
        self.records: list[dict[str, object]] = []
        self._told = told
        self._index = 0

    def now_ns(self) -> int:
        """Return the time of day of then."""
        return self._next(_NOW, "the time of day")  # type: ignore[return-value]  # by its kind

    def monotonic_ns(self) -> int:
        """Return the time of then that never went back."""
        return self._next(_MONOTONIC, "a time")  # type: ignore[return-value]  # by its kind

    def random_bytes(self, count: int) -> bytes:
        """Return the random bytes of then."""
        found = self._next(_RANDOM, f"{count} random bytes", count)
        assert isinstance(found, bytes)
        return found

    async def within(self, work: Awaitable[Any], timeout_ms: int) -> Any:
        """Return the result of some work; nothing is late."""
        del timeout_ms
        return await work

    def heartbeat(
        self, pieces: AsyncIterable[bytes], interval_ms: int, beat: bytes
    ) -> AsyncIterable[bytes]:
        """Return the pieces alone."""
        del interval_ms, beat
        return pieces

    def log(self, record: Mapping[str, object]) -> None:
        """Keep a record."""
        self.records.append(dict(record))

    def _next(self, kind: int, wanted: str, count: int | None = None) -> int | bytes:
        index = self._index
        told = self._told[index] if index < len(self._told) else None
        if told is None or told.kind != kind:
            raise DivergedError(index=index, wanted=wanted)
        if isinstance(told.value, bytes) and len(told.value) != count:
            raise DivergedError(index=index, wanted=wanted)
        self._index += 1
        return told.value


async def _pieces(source: Any) -> AsyncIterator[bytes]:
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    else:
        for piece in source:
            yield piece
