"""Planned cases and defects of the reference implementation that only a whole run shows."""

from __future__ import annotations

import json
import re

import pytest
from tests.egress.support import response
from tests.exec.net_support import allowing, net_world

import cloche
from cloche.limits.schema import schema_bytes, to_schema

LANGUAGES = ("javascript", "python")


@pytest.fixture
def net():
    """Return the world of the process's service."""
    with net_world() as world:
        yield world


def shown(server, javascript, python, language, **options):
    """Run a program of a language that may call a server; return its lines."""
    origin = f"https://a.example.com:{server.port}"
    code = (
        f"const origin = {json.dumps(origin)};\n{javascript}"
        if language == "javascript"
        else f"import net\norigin = {origin!r}\n{python}"
    )
    result = cloche.run(code, language=language, policy=allowing(server, **options))
    assert result.run.exit_code == 0, result.run.stderr
    return result.run.stdout.splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_20_json_is_read(net, language):
    """A guest reads the JSON of a response, with its status and headers."""
    server = net.server(answer=response(body=b'{"a":[1,2]}', Content_Type="application/json"))
    javascript = "const r = net.fetch(origin); console.log(r.ok, r.status, r.json().a[1]);"
    python = "r = net.fetch(origin)\nprint(str(r.ok).lower(), r.status, r.json()['a'][1])"
    assert shown(server, javascript, python, language) == ["true 200 2"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_21_bad_json_is_an_error(net, language):
    """What is no JSON is an error of the guest's own, which it can catch; the text stays."""
    server = net.server(answer=response(body=b'{"a":'))
    javascript = """
    const r = net.fetch(origin);
    try { r.json(); console.log("no error"); } catch (error) { console.log(error.name); }
    console.log(r.text());
    """
    python = (
        "r = net.fetch(origin)\n"
        "try:\n    r.json()\n    print('no error')\n"
        "except ValueError as error:\n    print('SyntaxError')\n"
        "print(r.text)"
    )
    assert shown(server, javascript, python, language) == ["SyntaxError", '{"a":']


@pytest.mark.parametrize("language", LANGUAGES)
def test_defects_1_and_2_codes_and_retryable_reach_the_guest(net, language):
    """A guest branches on the code, and knows as data whether a retry can help."""
    server = net.server()
    javascript = """
    for (const url of ["https://none.example.com/", origin]) {
      for (let i = 0; i < 2; i++) {
        try { net.fetch(url); } catch (e) { console.log(e.code, e.retryable); }
      }
    }
    """
    python = (
        "for url in ['https://none.example.com/', origin]:\n"
        "    for _ in range(2):\n"
        "        try:\n            net.fetch(url)\n"
        "        except net.NetError as e:\n            print(e.code, str(e.retryable).lower())\n"
    )
    entry = {"host": "a.example.com", "ports": [server.port], "rate_limit": 1}
    code = f"const origin = 'https://a.example.com:{server.port}';\n{javascript}"
    if language == "python":
        code = f"import net\norigin = 'https://a.example.com:{server.port}'\n{python}"
    policy = cloche.Policy(net=cloche.NetPolicy(allow=[entry]))
    result = cloche.run(code, language=language, policy=policy)
    assert result.run.stdout.splitlines() == [
        "NET_BLOCKED false",
        "NET_BLOCKED false",
        "NET_RATE true",
    ]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (
            "javascript",
            """
            console.log(typeof kept, ({}).odd, [].sum);
            var kept = 1; Object.prototype.odd = 1; Array.prototype.sum = 2; let again = 1;
            """,
        ),
        (
            "python",
            """
import json
print('kept' in globals(), getattr(json, 'odd', None))
kept = json.odd = 1
""",
        ),
    ],
)
def test_defect_18_no_state_reaches_the_next_run(language, code):
    """Each run begins with what the image has, however the last one changed it."""
    outputs = {cloche.run(code, language=language).run.stdout for _ in range(3)}
    assert outputs in ({"undefined undefined undefined\n"}, {"False None\n"})


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", "console.log(process.env.NAME); console.error('seen')"),
        ("python", "import os, sys\nprint(os.environ['NAME'])\nprint('seen', file=sys.stderr)"),
    ],
)
def test_defect_20_settings_arrive_and_lines_do_not_vanish(language, code):
    """The environment that a run is given is there, and what it logs is in its result."""
    result = cloche.run(code, language=language, env={"NAME": "value"})
    assert (result.run.stdout, result.run.stderr) == ("value\n", "seen\n")


def test_defect_21_words_and_ranges_of_limits():
    """No description holds a doubled percent sign; what a machine has is no wrong value."""
    assert b"%%" not in schema_bytes()
    words = [leaf for group in to_schema().values() for leaf in group.values()]
    assert all(re.search(r"\S", leaf["label"]) for leaf in words)
