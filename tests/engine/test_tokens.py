"""Tests of the tokenizer: where tokens begin, what is one, and that nothing makes it fail."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.tokens import line_starts, scan, tokenize

PIECES = [
    *("a", "return", "if", "}", "{", "(", ")", "[", "]", "`", "${", "'", '"', "\\", "/", "//"),
    *(
        "/*",
        "*/",
        "\n",
        "\r\n",
        "\u2028",
        " ",
        "\t",
        ";",
        "1",
        ".5",
        "0x1f",
        "=>",
        ">>",
        ">=",
        "#p",
    ),
    *("@d", "é", "\U0001f600", "...", "?.", "?", ":", "\0", "$", "_", "\\u{61}", "=", "+", "++"),
]
SOURCES = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=40)
BETWEEN = re.compile(r"(?:\s|//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)


def texts(source):
    """Return the text of each token."""
    return [token.text for token in tokenize(source)]


@given(SOURCES)
def test_tokens_cover_the_source(source):
    """Tokens stand where they say, in order; between them is white space and comments only."""
    starts = line_starts(source)
    end = 0
    for token in tokenize(source):
        begin = starts[token.line] + token.column
        assert token.text
        assert source.startswith(token.text, begin)
        assert BETWEEN.fullmatch(source, end, begin)
        assert token.line + 1 == len(starts) or begin < starts[token.line + 1]
        end = begin + len(token.text)
    assert BETWEEN.fullmatch(source, end)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", []),
        (" // c\n/* d */", []),
        ("/* never closed", []),
        ("let a=1;", ["let", "a", "=", "1", ";"]),
        ("a/b/c", ["a", "/", "b", "/", "c"]),
        ("x = /b/g", ["x", "=", "/b/g"]),
        ("f(/[/]/)", ["f", "(", "/[/]/", ")"]),
        (r"f(/\//)", ["f", "(", r"/\//", ")"]),
        ("return /a b/", ["return", "/a b/"]),
        ("(a) / b / c", ["(", "a", ")", "/", "b", "/", "c"]),
        ("a++ / b / c", ["a", "++", "/", "b", "/", "c"]),
        ("x = /open\n1", ["x", "=", "/", "open", "1"]),
        ("'a\\'b' \"c\"", ["'a\\'b'", '"c"']),
        ("'open\nb", ["'open", "b"]),
        ("'a\\\nb'", ["'a\\\nb'"]),
        ("`a${b}c`", ["`a${", "b", "}c`"]),
        ("`${{}}`", ["`${", "{", "}", "}`"]),
        ("`${`${a}`}`", ["`${", "`${", "a", "}`", "}`"]),
        ("`$ \\` \\${`", ["`$ \\` \\${`"]),
        ("a?.b ?.5 : c", ["a", "?.", "b", "?", ".5", ":", "c"]),
        ("a>>b", ["a", ">", ">", "b"]),
        ("a>>=b>>>=c", ["a", ">>=", "b", ">>>=", "c"]),
        ("Map<A<B>>", ["Map", "<", "A", "<", "B", ">", ">"]),
        ("#p @d $x _ \\u0061 \\u{61}b", ["#p", "@d", "$x", "_", "\\u0061", "\\u{61}b"]),
        ("0x1Fn 0b1_0 1_000.5e-3 .5 1..x", ["0x1Fn", "0b1_0", "1_000.5e-3", ".5", "1.", ".", "x"]),
        ("été\U0001d4b3", ["été\U0001d4b3"]),
        ("a\u00a0b\ufeff", ["a", "b", "\ufeff"]),
        ("...a=>b", ["...", "a", "=>", "b"]),
    ],
)
def test_what_is_a_token(source, expected):
    """Words, numbers, texts, expressions, templates, signs."""
    assert texts(source) == expected


def test_lines_and_columns():
    """Lines end as JavaScript says; columns count characters."""
    source = "a\n b\r\n  c\u2028d /*\n*/ e `\n` f"
    found = [(token.text, token.line, token.column) for token in tokenize(source)]
    assert found == [
        ("a", 0, 0),
        ("b", 1, 1),
        ("c", 2, 2),
        ("d", 3, 0),
        ("e", 4, 3),
        ("`\n`", 4, 5),
        ("f", 5, 2),
    ]


def test_line_starts():
    """Each kind of line end begins a line; a carriage return and a line feed are one."""
    assert line_starts("") == [0]
    assert line_starts("a\nb\r\nc\rd\u2028e\u2029") == [0, 2, 5, 7, 9, 11]


@pytest.mark.parametrize(
    "piece",
    [
        "/[",
        "(/a",
        "`${",
        "/*",
        "'\\",
        "}",
        "=/[",
        "x=/a[\n",
        "/[\\\n",
        "\\u{61}",
        "1_",
        "<",
        "/[/*",
    ],
)
def test_time_grows_with_the_length_alone(piece):
    """Ten thousand of anything that opens and does not close are read in one go."""
    source = piece * 10_000
    started_ns = time.process_time_ns()
    tokenize(source)
    assert time.process_time_ns() - started_ns < 1_000_000_000


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if (a) /`/.test(b)", ["if", "(", "a", ")", "/`/", ".", "test", "(", "b", ")"]),
        ("while (f(a)) /'/", ["while", "(", "f", "(", "a", ")", ")", "/'/"]),
        ("f(a) / b / c", ["f", "(", "a", ")", "/", "b", "/", "c"]),
        ("if (a) (b) / c / d", ["if", "(", "a", ")", "(", "b", ")", "/", "c", "/", "d"]),
    ],
)
def test_a_statement_begins_behind_a_condition(source, expected):
    """A slash behind the head of an `if` begins a regular expression, behind a call it divides."""
    assert texts(source) == expected


@given(SOURCES)
def test_a_scan_is_the_tokens_with_their_offsets(source):
    """What is yielded stands at its offset, and is the same as the list of tokens."""
    found = list(scan(source))
    assert all(source.startswith(text, offset) for offset, text in found)
    assert [text for _, text in found] == texts(source)


def test_a_scan_begins_where_it_is_told():
    """Text before the position is not looked at."""
    assert list(scan("it's `a", 5)) == [(5, "`a")]
