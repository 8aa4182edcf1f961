"""asyncio without sockets: an event loop whose only sources are timers and effects.

`asyncio.run` blocks inside the turn. A program with top-level `await` is driven by `driver`, which
leaves the turn while effects are pending.
"""

import asyncio
import concurrent.futures.thread
import gc
import time
from asyncio import base_events, events

from _cloche import display, host

_GENERATIONS = (2, 1, 0)  # of the collector, oldest first; what is frozen is in none

_started = 0  # tasks since `tell_unheard`


class Deadlock(RuntimeError):
    """The program waits for something that can never happen."""

    def __init__(self, reason="nothing is scheduled and no effect is pending"):
        super().__init__(f"the program waits for something that can never happen: {reason}")


Deadlock.__module__ = "cloche"


class _Selector:
    """Stands where a loop has its sockets."""

    def select(self, timeout):
        if timeout is not None and timeout <= 0:
            return ()
        if host.pending:
            host.wait(timeout)
        elif timeout is None:
            raise Deadlock
        else:
            time.sleep(timeout)
        return ()

    def close(self):
        pass


class Loop(base_events.BaseEventLoop):
    """The loop that every `asyncio` function gets here."""

    def __init__(self):
        super().__init__()
        self._selector = _Selector()

    def create_task(self, coro, **options):
        global _started
        _started += 1
        return super().create_task(coro, **options)

    def default_exception_handler(self, context):
        display.strip(context.get("exception"))
        super().default_exception_handler(context)

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass

    def add_signal_handler(self, sig, callback, *args):
        raise NotImplementedError("there are no signals in the sandbox")

    def remove_signal_handler(self, sig):
        return False

    async def shutdown_default_executor(self, timeout=None):
        # The real one waits on a thread.
        self._executor_shutdown_called = True
        if self._default_executor is not None:
            self._default_executor.shutdown(wait=False)

    async def subprocess_exec(self, *args, **kwargs):
        raise OSError("processes are not available in the sandbox")

    subprocess_shell = subprocess_exec

    # --- driven from outside, one step at a time ---

    def enter(self):
        self._run_forever_setup()

    def leave(self):
        self._run_forever_cleanup()

    def step(self):
        """Run what is ready. Return False when only effects could make more ready."""
        if not self._ready:
            while self._scheduled and self._scheduled[0]._cancelled:
                base_events.heapq.heappop(self._scheduled)._scheduled = False
                self._timer_cancelled_count -= 1
            if not self._scheduled:
                if host.pending:
                    return False
                raise Deadlock
            if host.pending and self._scheduled[0]._when > self.time() + self._clock_resolution:
                return False
        self._run_once()
        return True

    def wake_ns(self):
        """Virtual time of the earliest timer, or None."""
        if not self._scheduled:
            return None
        ahead_ns = max(0, int((self._scheduled[0]._when - self.time()) * 1e9))
        return time.time_ns() + ahead_ns


def tell_unheard():
    """Tell of the errors that nobody asked tasks for, as a Python that ends does.

    A task that is dropped tells of its own. One that is still held would at the end of its process,
    which has none here: the instance is stopped, or goes on with another run.
    """
    global _started
    made, _started = _started, 0
    if made <= 1:
        return  # one alone is the run itself, which ends as it does
    try:
        held = [one for age in _GENERATIONS for one in gc.get_objects(age) if _is_unheard(one)]
    except MemoryError:
        return  # the program used it up and is done all the same: that is not undone by a look
    for future in held:
        kind = asyncio.Task if issubclass(type(future), asyncio.Task) else asyncio.Future
        kind.__del__(future)  # writes what is wrong, once, and raises nothing


def _is_unheard(one):
    # By its type: an object may say anything of its class.
    return issubclass(type(one), asyncio.Future) and asyncio.Future._log_traceback.__get__(one)


def _submit_inline(executor, fn, /, *args, **kwargs):
    # There are no threads; a pool of one thread that finishes at once keeps most programs right.
    if executor._shutdown:
        raise RuntimeError("cannot schedule new futures after shutdown")
    future = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:
        future.set_exception(error)
    return future


def install():
    events.new_event_loop = asyncio.new_event_loop = Loop
    policy = getattr(events, "_BaseDefaultEventLoopPolicy", None)
    policy = policy or getattr(events, "BaseDefaultEventLoopPolicy", None)
    if policy is not None:
        policy._loop_factory = Loop
    for module in (asyncio, getattr(asyncio, "unix_events", None)):
        for name in ("SelectorEventLoop", "EventLoop", "DefaultEventLoopPolicy"):
            found = getattr(module, name, None)
            if found is not None and hasattr(found, "_loop_factory"):
                found._loop_factory = Loop
            elif found is not None:
                setattr(module, name, Loop)
    concurrent.futures.thread.ThreadPoolExecutor.submit = _submit_inline


install()
