"""Tests of the examples: each runs as the front page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cloche.exec.api import execute, make_request

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name, **options):
    """Run an example; return its execution."""
    code = (EXAMPLES / name).read_text(encoding="utf-8")
    return execute(make_request(code, filename=name, **options))


def test_the_tour():
    """A real program in each language, shown with what it printed and left behind."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "tour.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    for part in ("primes.js", "inventory.ts", "report.py", "/visits.png", "journal "):
        assert part in done.stdout


def test_a_chart_comes_back():
    """Pandas and matplotlib write a PNG."""
    execution = run("chart.py")
    assert execution.error is None
    (chart,) = (file for file in execution.files if file.path == "/runs.png")
    assert chart.content.startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "line",
    [
        "10.457609  (4 folded",
        "25  (",
        "3628800  (",
        "610  (",
        "0.333333  (3 folded",
        "fun(a, b)  (",
        "error 1:27: too deep",
        "error 1:5: expected a number",
        "error 1:7: expected ), found the end",
        "error 1:1: undefined_name is not defined",
        'error 1:3: unexpected "?"',
    ],
)
def test_a_large_typescript_program(line):
    """Six hundred lines with most of what types can be: stripped, run, and right."""
    assert line in calculator()


def calculator():
    """Return what the calculator prints; it is run once."""
    if not _calculated:
        execution = run("calculator.ts")
        assert execution.error is None
        assert execution.result.run.stderr == ""
        _calculated.append(execution.result.run.stdout)
    return _calculated[0]


_calculated = []


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_the_agent_loop(api):
    """A model that writes scripts, in the dictionaries of two APIs, with a person who decides."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "agent_loop.py"), api],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == (
        "  script_1: completed ['apples', 'pears']\n"
        "  asked: order {'fruit': 'apples', 'count': 10}\n"
        "  asked: order {'fruit': 'pears', 'count': 10}\n"
        "  script_1: completed ['10 apples ordered', '5 pears ordered']\n"
        "6 messages; orders: [{'fruit': 'apples', 'count': 10}, {'fruit': 'pears', 'count': 5}]\n"
    )


def test_the_tour_of_a_server():
    """A server is started, and a first program comes back through each of its doors."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "server_tour.py"), "--bind", "127.0.0.1:0", "--once"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count("hello from 42") == 3
    for part in ("/v1/run", "cloche.Client", "/mcp", '{"visits":1}', "signed in"):
        assert part in done.stdout, done.stdout
