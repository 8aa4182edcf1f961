"""Tests of what a reader of Markdown sees as text."""

from __future__ import annotations

import re

import pytest

from cloche.script.markdown import next_visible

MARK = re.compile("@")


@pytest.mark.parametrize(
    "text",
    [
        "\\`a @`",  # an escaped backtick opens nothing
        "\\``a @``",  # of two, the second opens alone, and two do not close it
        "`a\\`@`",  # in code a backslash is one
        "`a\n\nb @`",
        "`a\n \t\r\nb @`",
        "`a\n```\n```\n@`",
        "`a\n@`",
        "````\n```\n````\n@",
        "```\n~~~\n```\n@",
        "> ```\na @",
        "``` ` ```\n@",
        "`````` ```\n@`",
        "`` ` @",
        "``a`b``@",
    ],
)
def test_text_is_seen(text):
    """The mark is found where it stands."""
    assert next_visible(MARK, text, 0).start() == text.index("@")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "\\\\`a @`",  # the backslash is escaped, the backtick is not
        "\\``a @`",
        "`a\nb @`",
        "a ``b ` @`` c",
        "`a` `@`",
        "````\n```\n@",
        "```\n@\n``` a\n@",
        "~~~\n```\n@",
        "```\n> @",
        "> ```\n> @",
        "1. - ```\n@",
        "a\n   ~~~~ b\n@\n~~~\n@",
    ],
)
def test_code_is_not(text):
    """Neither in a span nor in a block."""
    assert next_visible(MARK, text, 0) is None


def test_the_search_goes_on_behind_a_match():
    """There a paragraph begins in the middle of a line: a fence does not begin there."""
    text = "@```\n@\n```\n`@`"
    assert next_visible(MARK, text, 1).start() == 5
    assert next_visible(MARK, text, 6) is None
