"""What the sixty cases share: tools, and one way to run a script in any language."""

from __future__ import annotations

import asyncio
import threading
import time

import cloche
from cloche.limits.adapters.settings import load_limits

LANGUAGES = ("javascript", "typescript", "python")
# What ends on request has so long to do it: nothing that does end is late, on no machine.
LONG_GRACE = {"grace_ms": 60_000}
WAIT_S = 60
# A script stops here until the harness's `on_progress` returns.
TELL = {
    "javascript": "context.telemetry.emitProgress('here');",
    "typescript": "context.telemetry.emitProgress('here');",
    "python": "context.telemetry.emit_progress('here')\n",
}


@cloche.tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@cloche.tool(read_only=True)
def fail(message: str) -> None:
    """Fail."""
    raise ValueError(message)


@cloche.tool
def write(path: str, text: str) -> str:
    """Write a file, after a yes."""
    return f"{path}: {text}"


def until(event):
    """Return an `on_progress` that waits for an event."""
    return lambda *_: event.wait(WAIT_S)


class Crowd:
    """Counts who is inside at once, and lets the first ones out when so many have been."""

    def __init__(self, expected):
        self.now = self.most = 0
        self._expected = expected
        self._lock = threading.Lock()
        self._is_met = threading.Event()

    def visit(self):
        """Come in, wait for the others, stay a moment, and leave."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.most >= self._expected:
                self._is_met.set()
        self._is_met.wait(WAIT_S)
        time.sleep(0.005)  # whoever must not come as well could
        with self._lock:
            self.now -= 1


class Slow:
    """Slow tools, that remember how they ended."""

    def __init__(self):
        self.ended = []
        self.begun = threading.Event()

        @cloche.tool(read_only=True)
        async def wait(ms: int, name: str = "") -> str:
            """Wait, and say a name."""
            self.begun.set()
            try:
                await asyncio.sleep(ms / 1000)
            except asyncio.CancelledError:
                self.ended.append(f"{name} aborted")
                raise
            self.ended.append(f"{name} done")
            return name

        @cloche.tool(read_only=True)
        def after(count: int) -> int:
            """Wait until so many calls have ended."""
            return len(self.settle(count))

        self.wait, self.after = wait, after

    def settle(self, count):
        """Wait until so many calls have ended."""
        deadline_s = time.monotonic() + WAIT_S
        while len(self.ended) < count and time.monotonic() < deadline_s:
            time.sleep(0.005)
        return self.ended


def run(source, *tools, language="typescript", limits=None, **options):
    """Run one script, with the limits of `scripts` that are given."""
    found = load_limits({"scripts": limits} if limits else None)
    return cloche.ScriptHarness(*tools, limits=found, **options).run(source, language=language)


def chat(*parts):
    """Return a message of a model."""
    return {"role": "assistant", "content": "".join(parts)}


def block(source, lang="ts"):
    """Return a script as a message has it."""
    return f'<tool-calls lang="{lang}">\n{source}\n</tool-calls>'
