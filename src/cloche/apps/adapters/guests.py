"""Where the code of apps runs, as a port: in this process (`instances.py`), or in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.adapters.evaluation import Evaluated, Recipe
    from cloche.engine.adapters.images import Image
    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, Wanted
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink


class Guests(Protocol):
    """Where the code of apps runs: in this process or in others. Callable from any thread.

    Attributes:
        is_apart: whether in others, so that runs can be begun without a thread that waits.
    """

    is_apart: bool

    def evaluate(self, recipe: Recipe) -> Evaluated:
        """Evaluate the top level of a version."""

    def hold(self, image: Image) -> None:
        """A version is about to be asked."""

    def execute(
        self,
        image: Image,
        request: RunRequest,
        *,
        is_warm: bool = False,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        sink: JournalSink | None = None,
        replay: Journal | None = None,
        record: bool = True,
        cancel: CancelToken | None = None,
        run_id: str = "",
        wanted: Wanted | None = None,
    ) -> Execution:
        """Run a request in an instance of an image; see `Runner.execute`.

        Args:
            image: of the version.
            request: what to run.
            is_warm: whether in an instance that answered others before.
            handlers: as for `Runner.execute`, as for all that follow.
            on_output: gets what is printed.
            sink: keeps the journal.
            replay: answers every effect.
            record: whether there is a journal.
            cancel: stops the run.
            run_id: of the run.
            wanted: whether the journal is to be kept.
        """

    def begin(
        self,
        image: Image,
        request: RunRequest,
        done: Callable[[Execution | None, BaseException | None], None],
        elsewhere: Callable[[Callable[[], None]], None],
        *,
        handlers: Mapping[str, EffectHandler],
        on_output: Callable[[Stream, bytes], None] | None,
        sink: JournalSink | None,
        cancel: CancelToken,
        run_id: str,
        wanted: Wanted | None,
    ) -> bool:
        """Begin a run without waiting; False where that cannot be, and nothing was begun.

        Args:
            image: as for `execute`; it was executed there before.
            request: what to run.
            done: called when it is over, with how it ended or with what kept it from that.
            elsewhere: does something that waits on another thread.
            handlers: as for `execute`, as for all that follow.
            on_output: gets what is printed.
            sink: keeps the journal.
            cancel: stops the run.
            run_id: of the run.
            wanted: whether the journal is to be kept.
        """

    def tend(self, image: Image) -> None:
        """Do what is left to do behind a run, once its client has the answer."""

    def release(self, image: Image) -> None:
        """Let go of what waits for a version that is not asked any more."""

    def close(self) -> None:
        """Let go of everything that waits."""
