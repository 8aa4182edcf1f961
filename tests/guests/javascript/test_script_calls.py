"""How the realm of scripts asks for calls: alone inside the turn, together through the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from tests.engine.adapters.support import guest

from cloche.engine.abi import Report, StartInput, Stop, Submission, deliver_input, encode
from cloche.engine.adapters.instance import deadline_after
from cloche.limits import Limits
from cloche.script.programs import wrap

if TYPE_CHECKING:
    from cloche.engine.adapters.instance import Instance

IMAGE = "javascript+script"
ERROR = {"code": "TOOL_EXECUTION_ERROR", "message": "no", "retryable": False}


class World:
    """Answers with the number of the call, and notes how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.args: list[Any] = []
        self.returned: Any = None
        self.waiting: list[int] = []
        self.fails = False

    def call(self, submission: Submission, size_bytes: int) -> bytes:
        """Answer at once."""
        self.asked.append(("call", submission.target))
        self.args.append(submission.args)
        if submission.target == "$return":
            self.returned = submission.args
            return b'{"value":null}'
        return encode({"error": ERROR} if self.fails else {"value": len(self.asked)})

    def submit(self, submission: Submission, size_bytes: int) -> None:
        """Keep for the next turn."""
        assert submission.id is not None
        self.asked.append(("submit", submission.target))
        self.waiting.append(submission.id)

    def wait(self, timeout_ns: int | None) -> list[bytes]:
        """Answer all that was kept."""
        ids, self.waiting = self.waiting, []
        return [encode({"id": number, "value": number}) for number in ids]

    def abandon(self, submission_id: int) -> None:
        """Scripts say so in a call of their own."""
        raise AssertionError(submission_id)


def run(source: str, *, fails: bool = False) -> tuple[World, int]:
    """Run a script with the tools `a` and `b`; return what it asked for, and its turns."""
    world, instance = World(), guest(IMAGE)
    world.fails = fails
    instance.machine.effects = world
    context = {"sandbox": {}, "approvals": {}}
    code = wrap(source, "javascript", names=["a", "b"], context=context, limits=Limits())
    start = StartInput(
        language="javascript",
        filename="script.js",
        argv=["script.js"],
        env={},
        cwd="/",
        path=["/"],
        seed=1,
        now_ns="0",
        code=code,
    )
    turns, report = 1, turn(instance, encode(start))
    while report.state == "waiting":
        turns, report = turns + 1, turn(instance, deliver_input(world.wait(report.wake_ns)))
    assert (report.state, report.exit_code, instance.closed) == ("done", 0, False)
    return world, turns


def turn(instance: Instance, body: bytes) -> Report:
    """Run one turn of a guest that is not stopped."""
    outcome = instance.turn(body, deadline_ns=deadline_after(60_000_000_000))
    assert not isinstance(outcome, Stop), outcome
    return outcome


def test_a_lone_call_is_answered_inside_its_turn() -> None:
    """A script that only waits for it leaves nothing to anybody else."""
    world, turns = run("const one = await tools.a(); return [one, await tools.b({ x: 1 })]")
    assert world.asked == [("call", "a"), ("call", "b"), ("call", "$return")]
    assert (world.returned, turns) == ({"value": [1, 2]}, 1)


def test_calls_that_overlap_are_submitted() -> None:
    """Also the first of them; and the next one is alone again."""
    source = (
        "const both = await Promise.all([tools.a(), tools.b()]); return [...both, await tools.a()]"
    )
    world, turns = run(source)
    assert world.asked == [("submit", "a"), ("submit", "b"), ("call", "a"), ("call", "$return")]
    assert (world.returned, turns) == ({"value": [1, 2, 3]}, 2)


def test_a_call_beside_a_timer_is_submitted() -> None:
    """The timer may come first."""
    source = "setTimeout(() => {}, 1000); return await tools.a()"
    world, turns = run(source)
    assert (world.asked[0], world.returned, turns) == (("submit", "a"), {"value": 1}, 2)


def test_what_is_asked_for_next_comes_behind_a_call() -> None:
    """The host numbers effects in the order of the script."""
    world, _ = run("const one = tools.a(); context.telemetry.emitProgress('x'); return await one")
    assert world.asked == [("submit", "a"), ("call", "$progress"), ("call", "$return")]


def test_a_call_that_nobody_awaits_is_made() -> None:
    """It is handed over before it is given up."""
    world, _ = run("tools.a(); return 1")
    assert world.asked == [("submit", "a"), ("call", "$abort"), ("call", "$return")]


def test_a_lone_call_while_another_goes_on_is_submitted() -> None:
    """The loser of a race is with the host until it is answered."""
    source = "await Promise.race([tools.a(), Promise.resolve()]); return await tools.b()"
    world, _ = run(source)
    assert [how for how, name in world.asked if name in {"a", "b"}] == ["submit", "submit"]


def test_arguments_are_those_of_the_moment() -> None:
    """What a script changes in them afterwards is not sent."""
    world, _ = run("const x = { n: 1 }; const one = tools.a(x); x.n = 2; return await one")
    assert world.args[0] == {"n": 1}


def test_a_lone_call_that_fails_names_the_line_of_the_script() -> None:
    """Its error has the frames of the script, where the call stands."""
    source = "\ntry {\n  await tools.a();\n} catch (error) { return [error.code, error.stack] }"
    world, _ = run(source, fails=True)
    code, stack = msgspec.convert(world.returned["value"], tuple[str, str])
    assert code == "TOOL_EXECUTION_ERROR"
    assert stack.splitlines()[1].strip() == "at script.js:3:15"


def test_tools_are_made_when_they_are_looked_at() -> None:
    """Whoever looks sees them all the same."""
    source = (
        "const { value } = Object.getOwnPropertyDescriptor(tools, 'b');"
        "return [Object.keys(tools), typeof value, 'a' in tools, tools.a === tools.a]"
    )
    world, _ = run(source)
    assert world.returned == {"value": [["a", "b"], "function", True, True]}
