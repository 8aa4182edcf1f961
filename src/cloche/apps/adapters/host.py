"""Serving: a request becomes a run in the image of its version, its effects the response.

Invariants:
- a client gets exactly one response: the app's, or one of the host's that says by its code what
  went wrong; a response that broke off is never taken for whole;
- where the code of an app runs is nothing to its clients (`Guests`);
- a recorded request can be run again from its journal and the version's image alone.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from typing import TYPE_CHECKING, Final, Literal

from cloche.apps.adapters.builder import Builder, BuiltApp
from cloche.apps.adapters.effects import AppEffects
from cloche.apps.adapters.exchange import SEED_BITS, AppExecution, Exchange, fields_of
from cloche.apps.adapters.instances import AppInstances
from cloche.apps.errors import AppRequestError, HandlerFailedError
from cloche.apps.messages import (
    Conversation,
    RecordedResponse,
    event_question,
    input_of,
    offered_protocols,
    question_of,
    recorded_response,
)
from cloche.errors import InternalError
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.api import request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.adapters.guests import Guests
    from cloche.apps.bundle import Bundle
    from cloche.apps.manifest import Manifest
    from cloche.apps.messages import AppRequest
    from cloche.apps.ports import AppSocket, LogSink, ReplySink
    from cloche.engine.adapters.images import Image
    from cloche.engine.virtual_os import Stream
    from cloche.errors import ClocheError
    from cloche.exec.adapters.runner import Execution, Runner, Wanted
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits

STATUS_FAILED: Final = 500
STATUS_SWITCHING: Final = 101
STATUS_REFUSED: Final = 403
NS_PER_MS: Final = 1_000_000


class AppHost:
    """Builds versions and lets them answer. One per process; callable from any thread.

    Args:
        runner: knows the images of the languages, and executes where nobody else does.
        limits: of the host: groups `apps`, `guests`, `gate`.
        secret: see `Builder`.
        guests: where the code of apps runs; in this process when None.
    """

    def __init__(
        self, runner: Runner, limits: Limits, *, secret: bytes = b"", guests: Guests | None = None
    ) -> None:
        self.guests: Guests = guests or AppInstances(runner, limits)
        self._limits = limits
        self._builder = Builder(runner.images, self.guests.evaluate, limits, secret=secret)

    # --- versions ---

    def build(
        self, bundle: Bundle, manifest: Manifest, env: Mapping[str, str] | None = None
    ) -> BuiltApp:
        """Evaluate a version; see `Builder.build`."""
        return self._taken_up(self._builder.build(bundle, manifest, env))

    def restore(
        self,
        bundle: Bundle,
        manifest: Manifest,
        env: Mapping[str, str] | None,
        kept: bytes,
        key: bytes,
    ) -> BuiltApp:
        """Return a version from its kept form; see `Builder.restore`."""
        return self._taken_up(self._builder.restore(bundle, manifest, env, kept, key))

    def _taken_up(self, built: BuiltApp) -> BuiltApp:
        if built.image is not None:
            self.guests.hold(built.image)
        return built

    def release(self, built: BuiltApp) -> None:
        """Give back what a version that is not asked any more holds ready.

        Requests that it is answering end as they would; what they leave is given back, too.
        """
        if built.image is not None:
            self.guests.release(built.image)

    def close(self) -> None:
        """Give back every instance that waits."""
        self.guests.close()

    # --- requests ---

    def handle(
        self,
        built: BuiltApp,
        request: AppRequest,
        reply: ReplySink,
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        record: JournalSink | None = None,
        only_failed: bool = False,
        cancel: CancelToken | None = None,
        log: LogSink | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        run_id: str = "",
    ) -> AppExecution:
        """Let an app answer a request; blocks until its run is over.

        Args:
            built: the version.
            request: what was asked.
            reply: gets the response.
            handlers: of the storage, by kind.
            record: keeps the journal; None to record nothing.
            only_failed: whether it gets no journal of what went well.
            cancel: stops the run.
            log: gets the lines of the log.
            on_output: gets what is printed.
            run_id: names the run in idempotency keys.

        Raises:
            AppRequestError: the request cannot be given to an app; nothing ran, and nothing was
                answered.
            WorkerLostError: the process that ran it ended; the reply was aborted, or answered 503.
            JournalError, InternalError: the host's fault; the reply was aborted, or answered 500.
        """
        exchange = Exchange(built, request, reply, log)
        try:
            wanted = _unless(lambda: exchange.is_ended) if only_failed else None
            execution = self._execute(
                built,
                exchange.run,
                exchange.effects,
                handlers,
                record,
                cancel,
                on_output,
                run_id,
                wanted=wanted,
            )
        except BaseException as error:
            exchange.break_off(error)
            raise
        return exchange.finish(execution)

    def begin(
        self,
        built: BuiltApp,
        request: AppRequest,
        reply: ReplySink,
        done: Callable[[AppExecution | None, BaseException | None], None],
        elsewhere: Callable[[Callable[[], None]], None],
        *,
        handlers: Mapping[str, EffectHandler],
        record: JournalSink | None,
        only_failed: bool,
        cancel: CancelToken,
        log: LogSink | None,
        on_output: Callable[[Stream, bytes], None] | None,
        run_id: str,
    ) -> bool:
        """Let an app answer a request without a thread that waits; False if that cannot be.

        Args:
            built: the version.
            request: what was asked.
            reply: gets the response.
            done: called when it is over, with what `handle` returns or raises.
            elsewhere: does something that waits on another thread.
            handlers: as for `handle`, as for all that follow.
            record: keeps the journal.
            only_failed: whether it gets no journal of what went well.
            cancel: stops the run.
            log: gets the lines of the log.
            on_output: gets what is printed.
            run_id: names the run in idempotency keys.

        Raises:
            AppRequestError: the request cannot be given to an app.
        """
        if built.image is None or not self.guests.is_apart:
            return False
        exchange = Exchange(built, request, reply, log)

        def over(execution: Execution | None, error: BaseException | None) -> None:
            if execution is None:
                error = error or InternalError("a run ended without saying how")
                exchange.break_off(error)
                done(None, error)
            else:
                done(exchange.finish(execution), None)

        return self.guests.begin(
            built.image,
            exchange.run,
            over,
            elsewhere,
            handlers={**handlers, "app": exchange.effects},
            on_output=on_output,
            sink=record,
            cancel=cancel,
            run_id=run_id,
            wanted=_unless(lambda: exchange.is_ended) if only_failed else None,
        )

    def handle_socket(
        self,
        built: BuiltApp,
        request: AppRequest,
        socket: AppSocket,
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        record: JournalSink | None = None,
        only_failed: bool = False,
        cancel: CancelToken | None = None,
        log: LogSink | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        run_id: str = "",
    ) -> AppExecution:
        """Let an app talk over a WebSocket; blocks until its handler is over.

        The status of what is returned is 101; 403 where the handler ended without accepting, 500
        where it failed before: who has the connection then answers the handshake so.

        Args:
            built: the version; `handlers` has `websocket`.
            request: the handshake.
            socket: carries the messages; it is closed at the end if it was accepted.
            handlers: as for `handle`, as for all that follow.
            record: keeps the journal.
            only_failed: whether it gets no journal of what went well.
            cancel: stops the run.
            log: gets the lines of the log.
            on_output: gets what is printed.
            run_id: names the run in idempotency keys.

        Raises:
            AppRequestError: the request cannot be given to an app; nothing ran.
        """
        stdin, question = input_of(request), question_of(request, "websocket")
        run = built.request(
            question, seed=secrets.randbits(SEED_BITS), now_ns=time.time_ns(), stdin=stdin
        )
        timeout_ms = built.limits.apps.socket_timeout_ms
        run = dataclasses.replace(
            run, limits=run.limits.replace({"guests": {"timeout_ms": timeout_ms}})
        )
        token = cancel or CancelToken()
        ends_ns = time.monotonic_ns() + timeout_ms * NS_PER_MS
        conversation = Conversation(
            socket,
            built.limits,
            offered=offered_protocols(request),
            is_over=lambda: token.cancelled or time.monotonic_ns() >= ends_ns,
        )
        effects = AppEffects(None, built.limits, log=log, conversation=conversation)
        is_well = False
        try:
            wanted = _unless(lambda: True) if only_failed else None
            execution = self._execute(
                built, run, effects, handlers, record, token, on_output, run_id, wanted=wanted
            )
            is_well = execution.error is None
        finally:
            conversation.finish(is_well=is_well)
        refused = STATUS_REFUSED if is_well else STATUS_FAILED
        return AppExecution(
            **fields_of(execution),
            status=STATUS_SWITCHING if conversation.is_accepted else refused,
            failure=execution.error,
            body_bytes=conversation.sent_bytes,
        )

    def handle_event(
        self,
        built: BuiltApp,
        kind: Literal["scheduled", "job"],
        event: object,
        *,
        handlers: Mapping[str, EffectHandler] | None = None,
        record: JournalSink | None = None,
        only_failed: bool = False,
        cancel: CancelToken | None = None,
        log: LogSink | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        run_id: str = "",
        timeout_ms: int | None = None,
    ) -> AppExecution:
        """Call the handler of an event; `value` of what is returned is what it returned.

        Args:
            built: the version; `handlers` has the kind.
            kind: which handler.
            event: plain JSON, what the handler gets.
            handlers: as for `handle`, as for all that follow.
            record: keeps the journal.
            only_failed: whether it gets no journal of what went well.
            cancel: stops the run.
            log: gets the lines of the log.
            on_output: gets what is printed.
            run_id: names the run in idempotency keys.
            timeout_ms: for this call, instead of that of requests.
        """
        effects = AppEffects(None, built.limits, log=log)
        run = built.request(
            event_question(kind, event),
            seed=secrets.randbits(SEED_BITS),
            now_ns=time.time_ns(),
        )
        if timeout_ms is not None:
            limits = run.limits.replace({"guests": {"timeout_ms": timeout_ms}})
            run = dataclasses.replace(run, limits=limits)
        wanted = _unless(lambda: effects.has_value) if only_failed else None
        execution = self._execute(
            built, run, effects, handlers, record, cancel, on_output, run_id, wanted=wanted
        )
        failure: ClocheError | None = execution.error
        if failure is None and not effects.has_value:
            failure = HandlerFailedError(f"the handler of {kind} ended before it returned")
        return AppExecution(**fields_of(execution), failure=failure, value=effects.value)

    def replay(
        self, built: BuiltApp, journal: Journal
    ) -> tuple[Execution, RecordedResponse | None]:
        """Run a recorded request or event again; every effect is answered from its journal.

        Returns:
            how the run ended, and the response that it gave, which is the recorded one.

        Raises:
            DivergenceError: it asked for or answered something else than was recorded, or the
                version is another one.
        """
        execution = self.guests.execute(
            self._image_of(built), request_of(journal.inputs), replay=journal
        )
        return execution, recorded_response(journal, self._limits)

    def _execute(
        self,
        built: BuiltApp,
        run: RunRequest,
        effects: AppEffects,
        handlers: Mapping[str, EffectHandler] | None,
        record: JournalSink | None,
        cancel: CancelToken | None,
        on_output: Callable[[Stream, bytes], None] | None,
        run_id: str,
        *,
        wanted: Wanted | None,
    ) -> Execution:
        image = self._image_of(built)
        try:
            return self.guests.execute(
                image,
                run,
                is_warm=built.manifest.instances == "warm",
                handlers={**(handlers or {}), "app": effects},
                on_output=on_output,
                sink=record,
                record=record is not None,
                cancel=cancel,
                run_id=run_id,
                wanted=wanted,
            )
        finally:
            self.guests.tend(image)

    def _image_of(self, built: BuiltApp) -> Image:
        if built.image is None:
            raise AppRequestError("this app has files alone, and no handler")
        return built.image


def _unless(is_well: Callable[[], bool]) -> Wanted:
    """Return who wants the journals of runs that failed, or did not do what they were for."""
    return lambda error: error is not None or not is_well()
