"""Attack: an app fills the server's memory and disk with its log, or writes lines that lie."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from abuse.app_support import place
from cloche.apps.logs import LogLine
from cloche.apps.routing import AppName
from cloche.cli import apps as command

SHOP = AppName(tenant="default", name="shop")
LIMIT_BYTES = 1000
PYTHON = "from cloche_app import log\ndef handle(request):\n    {}\n    return 'done'\n"


@pytest.fixture(scope="module")
def world():
    """A server with small logs."""
    with place(apps={"log_line_limit_bytes": LIMIT_BYTES, "log_line_count_max": 500}) as found:
        yield found


def written(world, code, **options):
    """Return the lines of an app that was asked once."""
    world.apps.logs.remove(SHOP)
    world.deploy(code=code, **options)
    world.get("/apps/shop/")
    world.settle()
    world.apps.logs.flush()
    return world.apps.logs.read(SHOP, limit=10_000)


@pytest.mark.parametrize(
    "call",
    [
        "log.info('x' * 900_000)",
        "log.info('\\u20ac' * 300_000)",
        "log.info('x', a='y' * 900_000)",
        "log.info('x', a=['y'] * 100_000)",
        "log.info('x', **{'k' * 900_000: 1})",
        "print('x' * 900_000)",
        "raise ValueError('x' * 900_000)",
    ],
)
def test_no_line_is_long(world, call):
    """Whatever a line is made of, what is kept of it is short."""
    lines = written(world, PYTHON.format(call), main="main.py")
    assert lines
    for line in lines:
        kept = line.message + str(line.fields)
        assert len(kept.encode()) <= LIMIT_BYTES + 100


def test_no_log_is_long(world):
    """However much an app writes, the newest lines are kept."""
    main = (
        "export default () => { for (let n = 0; n < 30000; n++) console.log(n);"
        " return new Response('x'); }"
    )
    lines = written(world, main)
    assert len(lines) <= 500 + 200  # blocks go whole


def test_one_byte_at_a_time(world):
    """A line that comes in pieces costs what a line costs, not the square of it."""
    main = (
        "export default () => { for (let n = 0; n < 20000; n++) process.stdout.write('x');"
        " return new Response('x'); }"
    )
    assert sum(len(line.message) for line in written(world, main)) <= LIMIT_BYTES


LIES = [
    "it is\n2026-11-21 12:00:00 error 00000000 the server says so",
    "\x1b[2J\x1b]0;title\x07",
    "\r2026-11-21 12:00:00 info",
    "\u202eevil\u2066",
    "a\x9b31mb\x00",
]


@pytest.mark.parametrize("text", LIES)
def test_no_line_begins_another(monkeypatch, text):
    """What the command line shows of a line obeys nothing in it, and begins no other one."""
    shown = []
    monkeypatch.setattr(command.typer, "echo", shown.append)
    line = LogLine(at_ms=0, level="info", message=text, fields={text: text}, request="r")
    command._print_line(line, as_json=False)
    (out,) = shown
    assert len(out.splitlines()) == 1
    assert out.isprintable()


def test_the_runner_is_there():
    """The command that shows a log exists under the name that is tested here."""
    assert CliRunner().invoke(command.app, ["logs", "--help"]).exit_code == 0
