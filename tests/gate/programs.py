"""A model of guests and hosts: random programs run live, then again from their journal.

A program is a list of steps. The guest's transcript holds all that it could observe. The live host
completes effects whenever a seeded chooser says so; the replaying host knows only the journal.
"""

from __future__ import annotations

from cloche.gate.effect import EffectError
from cloche.gate.errors import BudgetExhaustedError
from cloche.gate.gate import Answered, Perform, Recorded
from gate.support import make_inputs, make_outcome


class LiveHost:
    """Performs effects in an order that `random` chooses."""

    def __init__(self, gate, random):
        self.gate = gate
        self.random = random
        self.running = []
        self.ready = []
        self.performed = []

    def ask(self, kind, target, args, task):
        """Ask synchronously; return what the guest sees."""
        verdict = self.gate.request(kind, target, args, task=task)
        if isinstance(verdict, Perform):
            completion = self._perform(verdict.request)
        else:
            completion = verdict.completion
        self.gate.deliver((completion.sequence,), completion.duration_ns)
        return [completion.to_guest()]

    def submit(self, kind, target, args, task):
        """Ask without waiting."""
        verdict = self.gate.request(kind, target, args, task=task)
        if isinstance(verdict, Perform):
            self.running.append(verdict.request)
        else:
            self.ready.append(verdict.completion)

    def pause(self):
        """Let the world answer while the guest runs."""
        while self.running and self.random.random() < 0.5:
            self._complete_one()

    def wait(self):
        """Give the guest some answers; nothing but time where there are none."""
        if not self.ready and self.running and self.random.random() < 0.8:
            self._complete_one()
        self.random.shuffle(self.ready)
        count = self.random.randint(min(1, len(self.ready)), len(self.ready))
        given, self.ready = self.ready[:count], self.ready[count:]
        advance_ns = self.random.randint(0, 1000)
        self.gate.deliver(tuple(completion.sequence for completion in given), advance_ns)
        return [completion.to_guest() for completion in given] + [advance_ns]

    def _complete_one(self):
        index = self.random.randrange(len(self.running))
        self.ready.append(self._perform(self.running.pop(index)))

    def _perform(self, request):
        self.performed.append(request.identity)
        duration_ns = self.random.randint(0, 10**9)
        if self.random.random() < 0.3:
            error = EffectError(code="IO", message="no é", retryable=self.random.random() < 0.5)
            return self.gate.complete(request, error=error, duration_ns=duration_ns)
        value = {
            "z": self.random.random(),
            "a": [request.sequence, "x" * self.random.randint(0, 9)],
        }
        return self.gate.complete(request, value=value, duration_ns=duration_ns)


class ReplayHost:
    """Performs nothing: gives the guest what the journal says."""

    def __init__(self, gate):
        self.gate = gate
        self.performed = []

    def ask(self, kind, target, args, task):
        """Ask synchronously; the answer is the next delivery."""
        verdict = self.gate.request(kind, target, args, task=task)
        assert isinstance(verdict, Recorded | Answered)
        return self._take()[:-1]

    def submit(self, kind, target, args, task):
        """Ask without waiting; the journal has the answer."""
        verdict = self.gate.request(kind, target, args, task=task)
        assert isinstance(verdict, Recorded | Answered)

    def pause(self):
        """Do nothing: what the world did meanwhile is recorded."""

    def wait(self):
        """Give the guest the next recorded answers."""
        return self._take()

    def _take(self):
        delivery = self.gate.next_delivery()
        if delivery is None:
            return [0]
        self.gate.deliver(delivery.sequences, delivery.clock_advance_ns)
        return [item.to_guest() for item in delivery.completions] + [delivery.clock_advance_ns]


def run_program(program, host, *, inputs=None):
    """Run a program to its end; return its transcript and the hash of its journal."""
    gate = host.gate
    gate.started(make_inputs() if inputs is None else inputs)
    transcript = []
    try:
        for step, *args in program:
            host.pause()
            if step == "wait":
                transcript.append(host.wait())
            elif step == "ask":
                transcript.append(host.ask(*args))
            else:
                host.submit(*args)
    except BudgetExhaustedError as error:
        transcript.append(error.message)
    gate.close("END")
    host.pause()
    error = {"transcript": len(transcript)}
    return transcript, gate.finish(make_outcome(error=error))


class ResumeHost(LiveHost):
    """Takes what the journal has, then performs what was in flight and goes on live."""

    def __init__(self, gate, random):
        super().__init__(gate, random)
        self.recorded = {}
        self.is_live = False

    def ask(self, kind, target, args, task):
        """Ask synchronously, whoever answers."""
        verdict = self.gate.request(kind, target, args, task=task)
        self._check_live()
        if isinstance(verdict, Perform):
            completion = self._perform(verdict.request)
        elif isinstance(verdict, Answered) and self.is_live:
            completion = verdict.completion
        else:
            delivery = None if self.is_live else self.gate.next_delivery()
            if delivery is not None:
                self.gate.deliver(delivery.sequences, delivery.clock_advance_ns)
                return [item.to_guest() for item in delivery.completions]
            self._check_live()
            completion = self._in_flight(verdict)
        self.gate.deliver((completion.sequence,), completion.duration_ns)
        return [completion.to_guest()]

    def _in_flight(self, verdict):
        if isinstance(verdict, Answered):
            return verdict.completion
        sequence = verdict.request.sequence
        if sequence in self.gate.open_sequences:
            return self._perform(verdict.request)
        return next(c for c in self.gate.undelivered() if c.sequence == sequence)

    def submit(self, kind, target, args, task):
        """Ask without waiting."""
        verdict = self.gate.request(kind, target, args, task=task)
        self._check_live()
        if isinstance(verdict, Perform):
            self.running.append(verdict.request)
        elif isinstance(verdict, Answered):
            self.recorded[verdict.completion.sequence] = verdict
            if self.is_live:
                self.ready.append(verdict.completion)
        else:
            self.recorded[verdict.request.sequence] = verdict

    def pause(self):
        """Let the world answer, once there is one."""
        if self.is_live:
            super().pause()

    def wait(self):
        """Give the guest what is recorded, then what there is."""
        if not self.is_live:
            delivery = self.gate.next_delivery()
            if delivery is not None:
                self.gate.deliver(delivery.sequences, delivery.clock_advance_ns)
                given = [item.to_guest() for item in delivery.completions]
                return [*given, delivery.clock_advance_ns]
            self._check_live()
        return super().wait()

    def _check_live(self):
        if self.is_live or self.gate.replaying:
            return
        self.is_live = True
        given = {c.sequence: c for c in self.gate.undelivered()}
        for sequence, verdict in self.recorded.items():
            if sequence in self.gate.open_sequences:
                self.running.append(verdict.request)
            elif sequence in given:
                self.ready.append(given[sequence])
