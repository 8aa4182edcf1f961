"""What the sixty cases share: tools, and one way to run a script in any language."""

from __future__ import annotations

import asyncio
import time

import cloche
from cloche.limits.adapters.settings import load_limits

LANGUAGES = ("javascript", "typescript", "python")


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


class Slow:
    """Slow tools, that remember how they ended."""

    def __init__(self):
        self.ended = []
        self.running = self.most = 0

        @cloche.tool(read_only=True)
        async def wait(ms: int, name: str = "") -> str:
            """Wait, and say a name."""
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(ms / 1000)
            except asyncio.CancelledError:
                self.ended.append(f"{name} aborted")
                raise
            finally:
                self.running -= 1
            self.ended.append(f"{name} done")
            return name

        self.wait = wait

    def settle(self, count):
        """Wait until so many calls have ended."""
        deadline_s = time.monotonic() + 10
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
