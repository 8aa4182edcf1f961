"""The instances that answer for apps in one process: fresh ones, and warm ones that live on.

Invariants: nothing of one request is seen by another in a fresh instance; a warm one answers one
request at a time, of one app, and none after an error, a stop, or as many as the limit says; of a
version that was released nothing waits.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cloche.apps.adapters.evaluation import Evaluated, Recipe, evaluate
from cloche.engine.adapters.instance import Instance
from cloche.engine.adapters.machine import Machine
from cloche.engine.adapters.pool import Pool
from cloche.engine.virtual_os import Entropy
from cloche.exec.adapters.runner import new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.engine.adapters.images import Image
    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, Runner, Wanted
    from cloche.exec.request import RunRequest
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits
    from cloche.limits.app_groups import AppsLimits


class AppInstances:
    """Runs the code of apps in this process (`Guests`). Callable from any thread.

    Args:
        runner: executes.
        limits: the group `apps`.
    """

    is_apart = False

    def __init__(self, runner: Runner, limits: Limits) -> None:
        # A client has its response before the instance is made fresh again.
        self._pool = Pool(limits.apps.warm_instance_count_max, has_thread=False)
        self.runner = runner.with_pool(self._pool)
        self._lock = threading.Lock()
        # By the image itself: two apps of the same files have two, of the same id.
        self._warm: dict[Image, _Warm] = {}
        self._released: WeakSet[Image] = WeakSet()  # those that nobody is to ask again

    def evaluate(self, recipe: Recipe) -> Evaluated:
        """See `Guests`."""
        return evaluate(self.runner, recipe)

    def hold(self, image: Image) -> None:
        """See `Guests`."""
        with self._lock:
            self._released.discard(image)

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
        """See `Guests`."""
        options: dict[str, Any] = {
            "handlers": handlers,
            "on_output": on_output,
            "sink": sink,
            "replay": replay,
            "record": record,
            "cancel": cancel,
            "run_id": run_id or new_run_id(),
            "wanted": wanted,
        }
        return self.run(self.runner, image, request, is_warm=is_warm, **options)

    def begin(self, *_args: Any, **_options: Any) -> bool:
        """See `Guests`: a guest of this process needs a thread."""
        return False

    def run(
        self, runner: Runner, image: Image, request: RunRequest, *, is_warm: bool, **options: Any
    ) -> Execution:
        """Run a request, with a runner that is this one's or was made of it."""
        if not is_warm:
            return runner.execute(request, image=image, **options)
        warm = self._warm_of(image, request.limits.apps)
        slot = warm.take(request)
        is_well = False
        try:
            execution = runner.execute_in(slot.instance, request, **options)
            is_well = execution.error is None
        finally:
            warm.give_back(slot, is_well=is_well)
        return execution

    def tend(self, image: Image) -> None:
        """See `Guests`."""
        self._pool.tend()
        if image in self._released:
            self._pool.drop(image)

    def release(self, image: Image) -> None:
        """See `Guests`."""
        with self._lock:
            self._released.add(image)
            warm = self._warm.pop(image, None)
        if warm is not None:
            warm.close()
        self._pool.drop(image)

    def close(self) -> None:
        """See `Guests`."""
        self._pool.close()
        with self._lock:
            warm, self._warm = list(self._warm.values()), {}
        for one in warm:
            one.close()

    def _warm_of(self, image: Image, apps: AppsLimits) -> _Warm:
        with self._lock:
            warm = self._warm.get(image)
            if warm is None:
                warm = _Warm(image, apps)
                if image in self._released:
                    warm.close()  # it keeps nothing
                else:
                    self._warm[image] = warm
            return warm


@dataclass(slots=True, eq=False)
class _Slot:
    instance: Instance
    request_count: int = 0


class _Warm:
    """The warm instances of one version: as many as its requests at once, up to the limit."""

    def __init__(self, image: Image, apps: AppsLimits) -> None:
        self._image = image
        self._apps = apps
        self._ready: deque[_Slot] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def take(self, request: RunRequest) -> _Slot:
        """Return an instance that nobody else has; what it does is random as the run says."""
        with self._lock:
            slot = self._ready.pop() if self._ready else None
        if slot is None:
            machine = Machine(
                request.limits, now_ns=request.now_ns, seed=request.seed, sink=_discard
            )
            slot = _Slot(Instance(self._image, machine))
        slot.instance.machine.entropy = Entropy(request.seed)
        slot.request_count += 1
        return slot

    def give_back(self, slot: _Slot, *, is_well: bool) -> None:
        """Keep an instance for the next request, or close it."""
        if is_well and slot.request_count < self._apps.warm_request_count_max:
            with self._lock:
                has_room = len(self._ready) < self._apps.warm_instance_count_max
                if has_room and not self._closed and not slot.instance.closed:
                    self._ready.append(slot)
                    return
        slot.instance.close()

    def close(self) -> None:
        """Close what waits; what is at work is closed when it comes back."""
        with self._lock:
            self._closed = True
            slots, self._ready = list(self._ready), deque()
        for slot in slots:
            slot.instance.close()


def _discard(_stream: Stream, _data: bytes) -> None:
    """Stand for the sink of a machine before its first run."""
