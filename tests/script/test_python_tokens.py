"""Tests of the tokenizer for Python: what is code, what is text, and that nothing makes it fail."""

from __future__ import annotations

import io
import re
import sysconfig
import time
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.script.python_tokens import scan

PIECES = [
    *(
        "a",
        "f",
        "rb",
        "fr",
        "t",
        "1",
        ".",
        "{",
        "}",
        "{{",
        "}}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "!r",
        "=",
    ),
    *("'", '"', "'''", '"""', "\\", "\\N{DASH}", "#", "\n", "\r\n", " ", "\t", "\f", "é", "\0"),
]
SOURCES = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=40)
BETWEEN = re.compile(r"(?:\s|\\\r?\n|#[^\n\r]*)*")
LIBRARY = Path(sysconfig.get_path("stdlib"))
MODULES = ["ast.py", "difflib.py", "argparse.py", "tokenize.py", "typing.py", "inspect.py"]


def texts(source):
    """Return the text of each token."""
    return [text for _, text in scan(source)]


@given(SOURCES)
def test_tokens_cover_the_source(source):
    """Tokens stand at their offsets, in order; between them is white space and comments only."""
    end = 0
    for offset, text in scan(source):
        assert text
        assert source.startswith(text, offset)
        assert BETWEEN.fullmatch(source, end, offset)
        end = offset + len(text)
    assert BETWEEN.fullmatch(source, end)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = 'b # c'  # d", ["a", "=", "'b # c'"]),
        ("x('it\\'s')", ["x", "(", "'it\\'s'", ")"]),
        ("r'\\' 'c'", ["r'\\' '", "c", "'"]),
        ("'a\n'b'", ["'a", "'b'"]),
        ("'a\\\nb' c", ["'a\\\nb'", "c"]),
        ("'a\\\r\nb' c", ["'a\\\r\nb'", "c"]),
        ('"""a"b""c\n""" d', ['"""a"b""c\n"""', "d"]),
        ("'''a''''", ["'''a'''", "'"]),
        ('Rb"""a\\""" """ c', ['Rb"""a\\""" """', "c"]),
        ("buf'a'", ["buf", "'a'"]),
        ('"""a', ['"""a']),
        ("'a\\", ["'a\\"]),
    ],
)
def test_strings(source, expected):
    """Quotes of every kind, escapes, prefixes, and ends that are missing."""
    assert texts(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f'a{b}c' d", ["f'a{", "b", "}c'", "d"]),
        ("f'a{{b}}c'", ["f'a{{b}}c'"]),
        ("f'{a['b']}' c", ["f'{", "a", "[", "'b'", "]", "}'", "c"]),
        ("f'{a:>{b}}' c", ["f'{", "a", ":>{", "b", "}}'", "c"]),
        ("f'{a:x#y}' # c", ["f'{", "a", ":x#y}'"]),
        ("f'{ {1: 2}[1] }'", ["f'{", "{", "1", ":", "2", "}", "[", "1", "]", "}'"]),
        ("f'{f'{1}'}'", ["f'{", "f'{", "1", "}'", "}'"]),
        ("f'\\N{DASH}{a}'", ["f'\\N{DASH}{", "a", "}'"]),
        ("rf'\\N{a}'", ["rf'\\N{", "a", "}'"]),
        ("f'\\{a}'", ["f'\\{", "a", "}'"]),
        ("f'a\nb", ["f'a", "b"]),
        ("f'{a:b\nc", ["f'{", "a", ":b", "c"]),
        ("f'{\na # }\n}'", ["f'{", "a", "}'"]),
        ('f"""{a}"b"\n""" c', ['f"""{', "a", '}"b"\n"""', "c"]),
        ("t'{a!r:b}' c", ["t'{", "a", "!", "r", ":b}'", "c"]),
        ("f'{a}b{c}' f'{", ["f'{", "a", "}b{", "c", "}'", "f'{"]),
    ],
)
def test_strings_with_fields(source, expected):
    """Fields are code, their formats are text, and quotes may nest."""
    assert texts(source) == expected


@pytest.mark.parametrize("name", MODULES)
def test_strings_are_those_of_the_language(name):
    """The standard library has the strings that Python's own tokenizer finds."""
    source = (LIBRARY / name).read_text(encoding="utf-8")
    lines = [0, *(match.end() for match in re.finditer("\n", source))]
    expected = [
        (lines[token.start[0] - 1] + token.start[1], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.STRING and "f" not in token.string.partition(token.string[-1])[0]
    ]
    found = dict(scan(source))
    assert len(expected) > 20
    assert [(offset, found.get(offset)) for offset, _ in expected] == expected


@pytest.mark.parametrize("piece", ["f'{", "'", '"""', "{", "f'{a:{", "\\", "f'''{", "#", "'\n"])
def test_the_time_grows_with_the_length(piece):
    """A hundred thousand openings without an end are read in a second or two, not in hours."""
    started = time.process_time()
    sum(1 for _ in scan(piece * 100_000))
    assert time.process_time() - started < 5
