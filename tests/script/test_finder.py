"""Tests of the search for scripts: what is one, where it ends, and what is wrong with it."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.limits import Limits
from cloche.script.finder import BrokenPart, ScriptPart, TextPart, find

LIMITS = Limits()
END = "</tool-calls>"
PIECES = [
    *(
        "<tool-calls>",
        "</tool-calls>",
        '<tool-calls lang="python">',
        "<tool-calls/>",
        "<tool-calls x>",
    ),
    *(
        "a",
        "\n",
        "\n\n",
        "`",
        "``",
        "```",
        "~~~",
        "\n```\n",
        "\n> ```\n",
        "\n- ",
        "'",
        '"',
        '"""',
        "/",
    ),
    *(
        "/*",
        "*/",
        "//",
        "#",
        "${",
        "{",
        "}",
        "\\",
        "</",
        "<",
        " ",
        "\t",
        "\ufeff",
        "\ud800",
        "é",
        "return 1",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def parts(text, **options):
    """Return the parts of a text in a short form."""
    return [shown(part) for part in find(text, limits=LIMITS, **options)]


def shown(part):
    """Return the text of a text, a program with its language, or the problem of a broken block."""
    match part:
        case TextPart():
            return part.raw
        case ScriptPart():
            return part.language, part.source
        case BrokenPart():
            return part.error.fields.get("problem", part.error.code)


@given(TEXTS)
def test_the_parts_are_the_text(text):
    """Nothing is lost, added or moved; texts are not empty, nor two in a row."""
    found = find(text, limits=LIMITS)
    assert "".join(part.raw for part in found) == text
    assert all(part.raw == text[part.start : part.start + len(part.raw)] for part in found)
    assert all(part.raw for part in found)
    kinds = [isinstance(part, TextPart) for part in found]
    assert not any(first and second for first, second in pairwise(kinds))


@given(TEXTS)
def test_a_script_is_what_stands_between_its_tags(text):
    """Its source is in its block, and without blank lines around it."""
    for part in find(text, limits=LIMITS):
        if isinstance(part, ScriptPart) and part.language != "python":
            assert part.source in part.raw
            assert part.source == part.source.rstrip()
            assert part.source.strip()
            line = text.split("\n")[part.line - 1]
            assert part.source.split("\n")[0].rstrip() in line


def test_text_around_a_script_is_kept():
    """The parts are in the order of the text."""
    text = "First.\n<tool-calls>\n\n  return 1\n \n</tool-calls>\nThen.\n"
    assert parts(text) == ["First.\n", ("typescript", "  return 1"), "\nThen.\n"]
    script = find(text, limits=LIMITS)[1]
    assert (script.start, script.line, len(script.sha256)) == (7, 4, 64)


def test_text_without_a_script():
    """It is one part; no text is none."""
    assert parts("Use <tool-calling>, <Tool-Calls> or <tool-calls-x>.") == [
        "Use <tool-calling>, <Tool-Calls> or <tool-calls-x>."
    ]
    assert parts("") == []


@pytest.mark.parametrize(
    ("attributes", "language"),
    [
        ("", "typescript"),
        (" ", "typescript"),
        (' lang="js"', "javascript"),
        (" lang='ts'", "typescript"),
        (" lang=python", "python"),
        (' lang = "py"\n', "python"),
        ("\n  lang=javascript ", "javascript"),
    ],
)
def test_the_language_of_a_script(attributes, language):
    """One attribute names it, in quotes of either kind or none."""
    assert parts(f"<tool-calls{attributes}>a</tool-calls>") == [(language, "a")]


def test_the_language_of_a_script_that_names_none():
    """The caller says what it is."""
    assert parts("<tool-calls>a</tool-calls >", default="python") == [("python", "a")]


@pytest.mark.parametrize(
    "attributes", [' lang="perl"', " lang='js\"", " x", ' lang="js" lang="js"']
)
def test_another_attribute_or_language_is_an_error(attributes):
    """The model is told what it may write."""
    (part,) = find(f"<tool-calls{attributes}>a</tool-calls>", limits=LIMITS)
    assert part.error.message == (
        "the script at line 1 of the message did not run: the only attribute is lang, one of "
        '"ts", "js" and "python"'
    )


JAVASCRIPT = [
    "'%'",
    '"%"',
    "`%`",
    "`${`%`}%`",
    "`a${ {b: '}'} }%`",
    "/[%]/",
    "if (a) /[`%]/.test(b)",
    "// %\n1",
    "/* % */ 1",
    "/* ' */ '%'",
    "// it's\n'%'",
    "a = b / c; d = '%' / e",
    "'\\'%'",
    "`\\`%`",
    "x`%`",
    "/'/; '%'",
    "({a: 1}); '%'",
    "'\\\n%'",
]
PYTHON = [
    "'%'",
    '"""\n%\n"""',
    "# %\n1",
    "f'{a}%'",
    "f'{'%'}'",
    "f'''{f\"{'%'}\"}%'''",
    "r'\\\\' + '%'",
    "b'%'",
    "# it's\n'%'",
    "a // b; '%'",
    "f'{a:%}'",
    "'\\'%'",
    "t'%'",
]


@pytest.mark.parametrize("program", JAVASCRIPT)
@pytest.mark.parametrize("language", ["js", "ts"])
@pytest.mark.parametrize("inner", [END, "<tool-calls>", END + END, "<tool-calls>'</tool-calls>"])
def test_a_tag_in_a_literal_or_comment_of_javascript(program, language, inner):
    """It is part of the program, and the next one ends it."""
    if inner.count("'"):
        inner = inner.replace("'", "" if "'" in program else "x")
    source = program.replace("%", inner)
    text = f'<tool-calls lang="{language}">{source}\n{END} and \'{END}'
    found = parts(text)
    assert found[0][1] == source
    assert found[1:] == [" and '", "unopened"]


@pytest.mark.parametrize("program", PYTHON)
@pytest.mark.parametrize("inner", [END, "<tool-calls>", END + END])
def test_a_tag_in_a_literal_or_comment_of_python(program, inner):
    """It is part of the program, and the next one ends it."""
    source = program.replace("%", inner)
    assert parts(f"<tool-calls lang=python>{source}\n{END} it's") == [("python", source), " it's"]


@pytest.mark.parametrize(
    "text",
    [
        "`<tool-calls>a</tool-calls>`",
        "``a ` <tool-calls>a</tool-calls>``",
        "see `<tool-calls>` and\n`</tool-calls>`.",
        "```\n<tool-calls>a</tool-calls>\n```",
        "```xml\n<tool-calls>a</tool-calls>\n``\n````\n",
        "~~~ `\n<tool-calls>a</tool-calls>\n```\n~~~",
        "   ```\n<tool-calls>a</tool-calls>\n```",
        "- ```\n  <tool-calls>a</tool-calls>\n  ```",
        "12. ```\n    <tool-calls>a</tool-calls>\n    ```",
        "> ```\n> <tool-calls>a</tool-calls>\n> ```",
        "```\n<tool-calls>a</tool-calls>",
        "```\r\n<tool-calls>a</tool-calls>\r\n```\r\n",
        "a\n```\n<tool-calls>a</tool-calls>\n```\nb",
        "`a\n<tool-calls lang=`js`".replace("\n", " "),
    ],
)
def test_a_tag_in_code_of_markdown_is_text(text):
    """Code spans and fenced blocks show what they hold."""
    assert parts(text) == [text]


@pytest.mark.parametrize(
    "before",
    [
        "it`s: ",
        "`a` ",
        "``a` ",
        "\\`a ",
        "\\\\\\`a ",
        "`a\n\n`",
        "a `b\n",
        "```\n```\n",
        "```\nb\n```\n",
        "~~~\n~~~\n`b\n",
        "> ```\n> a\n",
        "``` `\n",
        "    ",
        "- ",
        "a ` b\n  ",
    ],
)
def test_a_tag_outside_of_code_is_a_script(before):
    """Backticks that close nothing, are escaped or stand in another paragraph hide nothing."""
    text = before + "<tool-calls>return 1</tool-calls> b"
    assert parts(text) == [before, ("typescript", "return 1"), " b"]


def test_backticks_of_a_program_close_no_code_span():
    """A tag at the start of a line begins a block of its own; in a line, Markdown's rule holds."""
    text = "a ` b\n <tool-calls>`x`</tool-calls> `"
    assert parts(text) == ["a ` b\n ", ("typescript", "`x`"), " `"]
    assert parts(text.replace("\n", "")) == [text.replace("\n", "")]


def test_a_script_ends_what_is_around_it():
    """Behind a script a paragraph begins: its own backticks do not count."""
    text = "<tool-calls>'`'</tool-calls> `<tool-calls>` <tool-calls>b</tool-calls>"
    assert parts(text) == [("typescript", "'`'"), " `<tool-calls>` ", ("typescript", "b")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <tool-calls>b", ["a ", "unclosed"]),
        ("<tool-calls>'a</tool-calls>", ["unclosed"]),
        ("a </tool-calls> b", ["a ", "unopened", " b"]),
        ("<tool-calls>a<tool-calls>b</tool-calls>c</tool-calls>d", ["nested", "d"]),
        ("<tool-calls>a<tool-calls>b</tool-calls>c", ["nested"]),
        (
            "<tool-calls>a<tool-calls lang='js'>'</tool-calls>'</tool-calls> </tool-calls>d",
            ["nested", "d"],
        ),
        ("<tool-calls></tool-calls>", ["empty"]),
        ("<tool-calls>\n // nothing\n</tool-calls>", ["empty"]),
        ("<tool-calls lang=python> # nothing\n</tool-calls>", ["empty"]),
        ("<tool-calls/>a", ["empty", "a"]),
        ("<tool-calls>a<tool-calls/>b</tool-calls>c", [("typescript", "a<tool-calls/>b"), "c"]),
        ("<tool-calls>'\ud800'</tool-calls>", ["encoding"]),
        ("<tool-calls>a</tool-calls>" * 2, [("typescript", "a")] * 2),
    ],
)
def test_what_is_wrong_with_tags(text, expected):
    """Each problem is found where it is; what is right beside it stays right."""
    assert parts(text) == expected


def test_the_errors_tell_what_to_do():
    """The line of the block, and of a closing tag that is none."""
    text = "x\n<tool-calls>\nlet a = `\n</tool-calls>\n"
    (_, part) = find(text, limits=LIMITS)
    assert part.error.message == (
        "the script at line 2 of the message did not run: the closing tag at line 4 stands in a "
        "string or a comment of the program. End that first, and put the tag on a line of its own"
    )
    (part,) = find("<tool-calls>a", limits=LIMITS)
    assert part.error.message == (
        "the script at line 1 of the message did not run: its closing tag </tool-calls> is missing"
    )


def test_a_script_may_be_as_long_as_its_limit():
    """One byte more is an error; what counts is UTF-8, without the blank lines around it."""
    limits = LIMITS.replace({"scripts": {"source_limit_bytes": 4}})
    assert isinstance(find("<tool-calls>\n'é'\n</tool-calls>", limits=limits)[0], ScriptPart)
    (part, after) = find("<tool-calls>'éa'</tool-calls> b", limits=limits)
    assert part.error.to_document()["fields"] == {
        "what": "script",
        "limit": "scripts.source_limit_bytes",
        "limit_bytes": 4,
        "found_bytes": 5,
    }
    assert after.raw == " b"


def test_a_message_may_be_as_long_as_its_limit():
    """A longer one is not searched."""
    limits = LIMITS.replace({"scripts": {"message_limit_bytes": 1024}})
    text = "<tool-calls>1</tool-calls>" + "é" * 499
    assert len(find(text, limits=limits)) == 2
    (part,) = find(text + "a", limits=limits)
    assert (part.raw, part.error.code) == (text + "a", "SCRIPT_TOO_LARGE")


def test_a_message_may_have_so_many_scripts():
    """Those over the limit are one error, which says so."""
    limits = LIMITS.replace({"scripts": {"block_count_max": 2}})
    text = "<tool-calls>1</tool-calls> " * 4
    found = find(text, limits=limits)
    assert [shown(part) for part in found] == [
        ("typescript", "1"),
        " ",
        ("typescript", "1"),
        " ",
        "count",
    ]
    assert "a message may have 2 scripts" in found[-1].error.message


def test_a_python_program_may_be_indented_as_a_whole():
    """The margin is taken off; a program whose first line has none stays as it is."""
    assert parts("<tool-calls lang=python>\n  if a:\n    b\n  </tool-calls>") == [
        ("python", "if a:\n  b")
    ]
    assert parts("<tool-calls lang=python>if a:\n    b</tool-calls>") == [
        ("python", "if a:\n    b")
    ]


def test_a_byte_order_mark_before_a_program():
    """It is not part of it, and the line stays right."""
    (part,) = find("<tool-calls>\ufeff\n\na\n</tool-calls>", limits=LIMITS)
    assert (part.source, part.line) == ("a", 3)


@pytest.mark.parametrize(
    "piece",
    [
        *("<tool-calls>", "</tool-calls>", "<tool-calls> ", "`", "` ``", "\\", "> ", "- ", "1) "),
        *(
            "\n```",
            "\n~~~\n",
            "```\n",
            "\n",
            "<tool-calls",
            "<tool-calls>'",
            "<tool-calls>`${",
            "<",
        ),
        *("'</tool-calls>", "`\n", "<tool-calls>/", "<tool-calls>f'{", "`</tool-calls> "),
    ],
)
@pytest.mark.parametrize("start", ["", "<tool-calls>", "<tool-calls lang=python>'", "```\n"])
def test_the_time_grows_with_the_length(piece, start):
    """Texts made to be slow are not."""
    text = start + piece * (300_000 // len(piece))
    started = time.process_time()
    found = find(text, limits=LIMITS)
    assert time.process_time() - started < 6
    assert sum(len(part.raw) for part in found) == len(text)


@given(st.text(max_size=30))
def test_any_text_in_a_string_is_safe(text):
    """A JSON string in a program never ends it, whatever it holds."""
    source = f"x({json.dumps(text + END)})"
    for language in ("js", "python"):
        block = f"<tool-calls lang={language}>{source}</tool-calls>"
        assert [part[1] for part in parts(block)] == [source]
