"""What a durable program asks of its session, and what it builds on that.

Sleeping and promises are effects: while a program waits for long, nothing of it is alive. Retries,
atomic blocks and transactions are plain code on top: since every effect is recorded, a program that
a crash ended goes on exactly where it was, inside of any of them.
"""

import inspect
import random
import sys
import time
from asyncio import events

from _cloche import host, tools


def _durable(target, arguments, frame):
    if tools.wants_await(frame):
        future = events._get_running_loop().create_future()
        return host.submit("durable", target, arguments, future)
    return host.effect("durable", target, arguments)


def sleep(seconds):
    """Wait in real time, for days if need be: meanwhile nothing of the program is alive.

    In async code the answer is to be awaited.
    """
    until_ns = time.time_ns() + int(seconds * 1_000_000_000)
    waiting = _durable("sleep", {"until_ns": until_ns}, sys._getframe(1))
    if waiting is not None:
        return _slept(waiting, until_ns)
    _catch_up(until_ns)


async def _slept(waiting, until_ns):
    await waiting
    _catch_up(until_ns)


def _catch_up(until_ns):
    # The program's own clock moves on too; that costs nothing.
    time.sleep(max(0, until_ns - time.time_ns()) / 1_000_000_000)


def idempotency_key():
    """Return a key that is the same when this program is executed again after a crash."""
    return host.effect("durable", "idempotency_key", {})


class promise:
    """Values that somebody gives later, once, from inside or outside."""

    @staticmethod
    def create():
        """Return the id of a new promise."""
        return host.effect("durable", "promise.create", {})

    @staticmethod
    def complete(id, value=None):
        """Give a promise its value; False if it has one already."""
        return host.effect("durable", "promise.complete", {"id": id, "value": value})

    @staticmethod
    def get(id):
        """Return the value, however long it takes; in async code the answer is to be awaited."""
        return _durable("promise.get", {"id": id}, sys._getframe(1))

    @staticmethod
    def poll(id):
        """Return {"value": value}, or None while there is none."""
        return host.effect("durable", "promise.poll", {"id": id})


class Retry:
    """When to try again: what failed, how often, after which delay.

    Args:
        attempts: how often in all.
        delay: seconds before the second attempt.
        factor: each delay is this many times the one before.
        delay_max: no delay is longer.
        jitter: part of a delay, 0 to 1, that is left to chance.
        within: seconds after which nothing is tried again.
        when: codes of `cloche.EffectError` to try again after, or a function of the error; what
            says of itself that trying helps, when nothing is given.
    """

    def __init__(
        self,
        attempts=3,
        *,
        delay=0.0,
        factor=1.0,
        delay_max=3600.0,
        jitter=0.0,
        within=None,
        when=None,
    ):
        if attempts < 1:
            raise ValueError(f"attempts is {attempts}; it must be 1 or more")
        self.attempts, self.delay, self.factor = attempts, delay, factor
        self.delay_max, self.jitter, self.within, self.when = delay_max, jitter, within, when

    def wants(self, error):
        if self.when is None:
            return getattr(error, "retryable", False)
        if callable(self.when):
            return bool(self.when(error))
        return getattr(error, "code", None) in self.when

    def delays(self):
        """Yield how long to wait before each further attempt."""
        delay, started = self.delay, time.time()
        for _ in range(self.attempts - 1):
            wait = min(delay, self.delay_max)
            if self.jitter:
                wait *= 1 - self.jitter * random.random()
            if self.within is not None and time.time() - started + wait > self.within:
                return
            yield wait
            delay *= self.factor


def retry(function, policy=None):
    """Call a function until it succeeds or the policy gives up; return what it returns.

    An async function gives something to await.
    """
    policy = policy or Retry()
    if inspect.iscoroutinefunction(function):
        return _retry_async(function, policy)
    delays = policy.delays()
    while True:
        try:
            return function()
        except Exception as error:
            wait = next(delays, None) if policy.wants(error) else None
            if wait is None:
                raise
        if wait:
            sleep(wait)


async def _retry_async(function, policy):
    delays = policy.delays()
    while True:
        try:
            return await function()
        except Exception as error:
            wait = next(delays, None) if policy.wants(error) else None
            if wait is None:
                raise
        if wait:
            await sleep(wait)


def atomic(function, attempts=3):
    """Call a function; when anything in it fails, all of it is done again."""
    return retry(function, Retry(attempts, when=lambda error: True))


class Transaction:
    """Steps with their undoing: `tx.run(do, undo)`; `undo` gets what `do` returned."""

    def __init__(self):
        self._undo = []

    def run(self, do, undo):
        """Do one step, and remember how to undo it."""
        if inspect.iscoroutinefunction(do):
            return self._run_async(do, undo)
        value = do()
        self._undo.append((undo, value))
        return value

    async def _run_async(self, do, undo):
        value = await do()
        self._undo.append((undo, value))
        return value

    def compensate(self):
        """Undo what was done, the last first; what cannot be undone is told with the others."""
        failures = []
        while self._undo:
            undo, value = self._undo.pop()
            try:
                undo(value)
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup("steps that could not be undone", failures)

    async def compensate_async(self):
        failures = []
        while self._undo:
            undo, value = self._undo.pop()
            try:
                answer = undo(value)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup("steps that could not be undone", failures)


def transaction(function, attempts=1):
    """Call a function with a `Transaction`; when it fails its steps are undone, the last first.

    With more attempts it is then done again; the error of the last is raised.
    """
    if inspect.iscoroutinefunction(function):
        return _transaction_async(function, attempts)
    for attempt in range(1, attempts + 1):
        tx = Transaction()
        try:
            return function(tx)
        except Exception:
            tx.compensate()
            if attempt == attempts:
                raise


async def _transaction_async(function, attempts):
    for attempt in range(1, attempts + 1):
        tx = Transaction()
        try:
            return await function(tx)
        except Exception:
            await tx.compensate_async()
            if attempt == attempts:
                raise


for _name in (
    "sleep",
    "idempotency_key",
    "promise",
    "Retry",
    "retry",
    "atomic",
    "Transaction",
    "transaction",
):
    setattr(tools.module, _name, globals()[_name])
