"""Tests of what people see of arguments."""

from __future__ import annotations

import pytest

from cloche.limits import Limits
from cloche.script.shown import redact, redact_lines, shorten

LIMITS = Limits().replace({"scripts": {"shown_text_limit_bytes": 16, "shown_count_max": 2}})


def test_secrets_are_hidden():
    """Those that a tool names, and those whose names tell, at any depth."""
    args = {"pin": 1, "a": [{"apiKey": "x", "pin": 2}], "Password": {"b": 1}, "monkey": 3, "key": 4}
    assert redact(args, {"pin"}) == {
        "pin": "<redacted>",
        "a": [{"apiKey": "<redacted>", "pin": 2}],
        "Password": "<redacted>",
        "monkey": 3,
        "key": "<redacted>",
    }
    assert args["pin"] == 1


@pytest.mark.parametrize("name", ["author", "authority", "keyboard"])
def test_names_that_only_look_like_it(name):
    """People see these."""
    assert redact({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "name", ["authorization", "authorise", "access_token", "client_secret", "credentials"]
)
def test_names_that_tell(name):
    """These are secret wherever they stand."""
    assert redact({name: "x"}) == {name: "<redacted>"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a" * 16, "a" * 16),
        ("a" * 18, "a" * 16 + "<2 more bytes>"),
        ("é" * 9, "é" * 8 + "<2 more bytes>"),
        ("a" + "é" * 8, "a" + "é" * 7 + "<2 more bytes>"),
        ([1, 2], [1, 2]),
        ([1, 2, 3, 4], [1, 2, "<2 more>"]),
        ({"a": [["b" * 17], 2]}, {"a": [["b" * 16 + "<1 more bytes>"], 2]}),
        (None, None),
    ],
)
def test_what_is_long_is_cut(value, shown):
    """With a mark that says how much is missing."""
    assert shorten(value, limits=LIMITS) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("tools.send({ to: 'ann', pin: 'abcd' })", "tools.send({ to: 'ann', pin: <redacted> })"),
        (
            "tools.send(to='ann', pin='''abcd''')",
            "tools.send(to='ann', pin=<redacted>)",
        ),
        ('const apiKey = "k\\"9";', "const apiKey = <redacted>;"),
        ("const apiKey: string = `k9`", "const apiKey: string = <redacted>"),
        ("{'password': 'x', \"to\": 'y'}", "{'password': <redacted>, \"to\": 'y'}"),
        ("pin = 1234", "pin = <redacted>"),
        ("if (token == 'x')", "if (token == 'x')"),
        ("const code = 'hunter22'; f(code)", "const code = '<redacted>'; f(code)"),
        ("tools.send({ pin })", "tools.send({ pin })"),
    ],
)
def test_lines_of_a_program_hold_no_secrets(line, shown):
    """Neither the texts of secret arguments nor literals behind a telling name."""
    assert redact_lines(line, {"to": "ann", "pin": ["hunter22"]}, {"pin"}) == shown
