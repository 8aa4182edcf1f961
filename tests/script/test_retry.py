"""A harness that fails itself tries once more, if nothing has happened yet."""

from __future__ import annotations

import dataclasses

import pytest
from tests.script.cases import add

import cloche
from cloche.exec.api import default_runner
from cloche.exec.errors import InternalExecError

CALL = "return tools.add({ a: 1, b: 2 })"


class Failing:
    """The runner, which says of the first executions that they broke: before they did anything."""

    def __init__(self, count, *, after):
        self.left, self.after, self.executed = count, after, 0

    def __call__(self):
        return self

    def execute(self, request, **options):
        """Execute, and tell something else."""
        self.executed += 1
        if self.left == 0:
            return default_runner().execute(request, **options)
        self.left -= 1
        if not self.after:
            request = dataclasses.replace(request, code="")
        done = default_runner().execute(request, **options)
        error = InternalExecError("it broke", result=done.result, reason="trap")
        return dataclasses.replace(done, error=error)


@pytest.fixture
def failing(monkeypatch):
    """Return a way to let executions fail."""

    def install(count, *, after=False):
        runner = Failing(count, after=after)
        monkeypatch.setattr("cloche.script.runs.default_runner", runner)
        return runner

    return install


def test_once_is_tried_again(failing):
    """The script does not notice; the usage says so, and the record is that of the second try."""
    runner = failing(1)
    harness = cloche.ScriptHarness(add)
    result = harness.run(CALL)
    assert (result.status, result.value, runner.executed) == ("completed", 3, 2)
    assert result.usage["attempts"] == 2
    assert harness.replay(result.run_id).value == 3


def test_twice_is_an_error(failing):
    """It is told as what it is."""
    runner = failing(2)
    result = cloche.ScriptHarness(add).run(CALL)
    assert result.error["code"] == "HARNESS_INTERNAL"
    assert (runner.executed, result.usage["attempts"]) == (2, 2)


def test_what_has_called_something_is_not_tried_again(failing):
    """A call that happened does not happen twice."""
    runner = failing(1, after=True)
    result = cloche.ScriptHarness(add).run(CALL)
    assert result.error["code"] == "HARNESS_INTERNAL"
    assert (runner.executed, len(result.tool_calls)) == (1, 1)
