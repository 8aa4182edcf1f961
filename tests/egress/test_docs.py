"""The documents of outbound HTTP say what the code does."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.support import environment
from tests.egress.support import response
from tests.exec.net_support import net_world

from cloche.egress.errors import NetError
from cloche.egress.secrets import INJECT_AS, Secret

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("egress.md", "secrets.md")


def text_of(page):
    """Return a page."""
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page, language):
    """Return the examples of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


def answer(request):
    """Answer as the server of the examples."""
    if request.target == "/echo":
        return response(body=request.header("authorization")[0].encode())
    return response(body=b'{"items":[1,2]}')


@pytest.mark.parametrize("page", PAGES)
def test_python_examples(page):
    """Every Python example runs as it stands, but for the port of its server."""
    (example,) = blocks(page, "python")
    with net_world() as net:
        server = net.server("api.example.com", answer=answer)
        net.world.secrets["BILLING"] = Secret(
            name="BILLING",
            value="sk-live-0123456789",
            domains=("api.example.com",),
            ports=(server.port,),
        )
        example = example.replace(
            "https://api.example.com", f"https://api.example.com:{server.port}"
        )
        example = example.replace(
            'host="api.example.com"', f'host="api.example.com", ports=({server.port},)'
        )
        exec(example, {})
        assert server.requests


@pytest.mark.parametrize("page", PAGES)
def test_commands(page, tmp_path):
    """Every command of the page prints what stands below it, in the order of the page."""
    program = tmp_path / "bin" / "cloche"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from cloche.cli import main; main()" "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    env = environment(
        CLOCHE_STORE=str(tmp_path / "cloche.db"),
        CLOCHE_SECRET_KEY=base64.b64encode(b"k" * 32).decode(),
    )
    env["PATH"] = f"{program.parent}:{env['PATH']}"
    count = 0
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            done = subprocess.run(
                ["sh", "-c", command], env=env, capture_output=True, timeout=60, check=False
            )
            assert (done.stdout.decode(), done.stderr) == (expected, b""), command
            count += 1
    assert count >= 5


def test_the_table_of_errors():
    """Each code is there, and no other."""
    rows = re.findall(r"^\| `(NET_\w+)` \|", text_of("egress.md"), re.MULTILINE)
    assert sorted(rows) == sorted({"NET_ERROR", *(kind.code for kind in NetError.__subclasses__())})


def test_the_table_of_ways_to_send():
    """Each way to inject a secret is there, and no other."""
    rows = re.findall(r"^\| `(\w+)` \|", text_of("secrets.md"), re.MULTILINE)
    assert sorted(rows) == sorted(INJECT_AS)
