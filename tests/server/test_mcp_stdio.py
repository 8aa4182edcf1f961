"""`cloche mcp` as a process: what is on its standard streams, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from tests.cli.support import START, environment

WAIT_S = 100
INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
NOISY = '''\
import subprocess
import sys

from cloche import tool
from cloche.script.tools import ToolSet

print("module")


@tool(requires_approval=False)
def loud(word: str) -> str:
    """Say it.

    Args:
        word: what.
    """
    print("tool", word)
    subprocess.run(["/bin/sh", "-c", "echo child; cat"], check=True)
    return sys.stdin.read()


TOOLS = ToolSet(loud)
'''


class Process:
    """`cloche mcp`, and messages to and from it."""

    def __init__(self, folder, *options):
        self.errors = (folder / "stderr.txt").open("w+")
        self.process = subprocess.Popen(
            [*START, "mcp", "--store", str(folder / "s.db"), *options],
            env=environment(CLOCHE_KEY_FILE=str(folder / "key"), PYTHONPATH=str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.number = 0
        self.ask("initialize", **INITIALIZE)
        self.answer()
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message):
        """Send a message."""
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method, /, **params):
        """Send a request."""
        self.number += 1
        self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})

    def call(self, tool, /, **arguments):
        """Ask for a tool."""
        self.ask("tools/call", name=tool, arguments=arguments)

    def answer(self):
        """Return the next message."""
        return json.loads(self.process.stdout.readline())

    def said(self):
        """Return its exit code, what else was on standard output, and the errors; it has ended."""
        rest = self.process.stdout.read()
        code = self.process.wait(WAIT_S)
        self.errors.seek(0)
        return code, rest, self.errors.read()

    def close(self):
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(WAIT_S)
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()


@pytest.fixture
def started(tmp_path):
    """Give a function that starts `cloche mcp`."""
    begun = []

    def start(*options):
        begun.append(Process(tmp_path, *options))
        return begun[-1]

    yield start
    for each in begun:
        each.close()


def test_nothing_else_is_in_the_protocol(started, tmp_path):
    """What tools and their children print is on standard error; what they read is empty."""
    (tmp_path / "noisy.py").write_text(NOISY)
    process = started("--tools", "noisy:TOOLS")
    process.call("run_script", source="return await tools.loud({ word: 'word' })")
    answer = process.answer()
    assert answer["result"]["structuredContent"]["value"] == ""
    process.process.stdin.close()
    code, rest, errors = process.said()
    assert (code, rest) == (0, "")
    assert set(errors.splitlines()) == {"module", "tool word", "child"}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, None])
def test_the_end(started, end):
    """A signal, or the client's leaving, ends it at once, whatever runs; it says nothing."""
    process = started()
    process.call("run_code", code="while True: pass", timeout_ms=600_000)
    process.ask("tools/list")
    assert process.answer()["id"] == process.number  # the run has been taken, too
    if end is None:
        process.process.stdin.close()
    else:
        process.process.send_signal(end)
    assert process.said() == (0, "", "")


def test_a_client_that_does_not_listen(started):
    """Its answers go nowhere, and the process ends without a word."""
    process = started()
    process.process.stdout.close()
    process.ask("tools/list")
    assert process.process.wait(WAIT_S) == 0
    process.errors.seek(0)
    assert process.errors.read() == ""


def test_messages_that_are_none(started):
    """They are told of, and the next request is answered; a request with a wrong text, too."""
    process = started()
    for line in ("{", "[]", "[" * 100_000, "\ufffd"):
        process.process.stdin.write(line + "\n")
    process.call("run_code", code="print('\ud800')")
    told = [process.answer() for _ in range(5)]
    assert {each["method"] for each in told[:4]} == {"notifications/message"}
    assert told[4]["id"] == process.number
    assert told[4]["result"]["isError"]
    assert "must be valid Unicode" in told[4]["result"]["content"][0]["text"]
