"""A text that arrives in pieces: the same as the whole, and each script as early as it can run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.script.cases import block, chat

import cloche
from cloche.limits.adapters.settings import load_limits
from cloche.script.items import ScriptCall, ScriptResult, Text

PARTS = [
    "prose ",
    "a < b\n",
    "`code` ",
    "`",
    "\n\n",
    "\n",
    "```\n<tool-calls>\nreturn 9\n</tool-calls>\n```\n",
    "`<tool-calls>` ",
    "<tool-calls>\nreturn 1\n</tool-calls>",
    "<tool-calls>\nreturn '</tool-calls>'\n</tool-calls>\n",
    "<tool-calls lang='x'>\n</tool-calls>",
    "</tool-calls>\n",
    "<tool-calls>\n",
    "<tool-calls>x = /</tool-calls>/; return 2</tool-calls>\n",
    "<tool-calls lang=\"python\">\n'é'\n</tool-calls>\n",
    "<tool-",
]
harness = cloche.ScriptHarness(go_on=True)


def streamed(pieces, **options):
    """Return what a stream of pieces gave, and its history."""
    stream = harness.stream(**options)
    found = [item for piece in pieces for item in stream.feed(piece)]
    found += stream.close()
    return found, stream.history


def joined(items):
    """Return items with texts that follow each other in one."""
    out = []
    for item in items:
        if isinstance(item, Text) and out and isinstance(out[-1], str):
            out[-1] += item.text
        elif isinstance(item, ScriptResult):
            out.append((item.script_id, item.status, item.value))
        else:
            out.append(item.text if isinstance(item, Text) else item)
    return out


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PARTS), max_size=7), st.data())
def test_the_pieces_do_not_matter(parts, data):
    """Wherever a text is cut, its parts and results are those of the whole text."""
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = harness.handle(chat(text), api="openai.chat", mode="disabled")
    found, history = streamed(pieces, mode="disabled")
    assert joined(found) == joined(whole.items)
    assert joined(history.items) == joined(whole.items)


def test_letter_by_letter():
    """As a model writes."""
    text = f"I look.\n{block('return 1 + 1')}\nThen `this`.\n{block('40 + 2', 'python')}"
    found, history = streamed(text)
    assert joined(found) == joined(history.items)
    assert [result.value for result in history.results] == [2, 42]


def test_a_script_runs_when_it_is_complete():
    """With the end of the line of its end; what the model writes behind it comes later."""
    stream = harness.stream()
    assert stream.feed("Look: ") == (Text(slot=0, text="Look: "),)
    assert stream.feed("now\n<tool-") == (Text(slot=0, text="now\n"),)
    assert stream.feed("calls>\nreturn 5") == ()
    assert stream.feed("\n</tool-calls>") == ()
    call, result, text = stream.feed("\nand ")
    assert isinstance(call, ScriptCall)
    assert (result.value, text.text) == (5, "\nand ")
    assert stream.feed("more") == (Text(slot=0, text="more", is_ahead=True),)
    assert stream.close() == ()


def test_nothing_of_a_script_is_prose():
    """Not even when the text ends in it."""
    stream = harness.stream()
    assert stream.feed("<tool-calls>\nreturn 1;\n") == ()
    call, result = stream.close()
    assert (call.raw, result.error["code"]) == ("<tool-calls>\nreturn 1;\n", "SCRIPT_SYNTAX")


def test_the_first_failure_skips_the_rest():
    """As in a whole message."""
    stream = cloche.ScriptHarness().stream()
    items = stream.feed(block("throw new Error('x')") + "\n" + block("return 1") + "\n")
    statuses = [item.status for item in items if isinstance(item, ScriptResult)]
    assert statuses == ["failed", "skipped"]


def test_after_the_end():
    """A stream ends once, and has a history then."""
    stream = harness.stream()
    with pytest.raises(ValueError, match="has not ended"):
        stream.history  # noqa: B018 - it raises
    stream.close()
    assert stream.history.items == ()
    with pytest.raises(ValueError, match="has ended"):
        stream.feed("x")


def test_many_searches():
    """A text that asks for a search with every line is searched at its end, and costs no more."""
    limits = load_limits({"scripts": {"message_limit_bytes": 1024}})
    stream = cloche.ScriptHarness(limits=limits).stream()
    text = "<tool-calls>\n" + "x\n" * 400 + "</tool-calls>\n"
    found = [item for line in text.splitlines(keepends=True) for item in stream.feed(line)]
    found += stream.close()
    assert [type(item).__name__ for item in found] == ["ScriptCall", "ScriptResult", "Text"]


def test_a_backtick_before_a_script():
    """It may begin a code span that ends behind the script, until its paragraph is over."""
    before, script = "a ` ", "<tool-calls>return 1</tool-calls>\n"
    for behind in ("b ` c\n", "b c\n\n", "b c\n\n`"):
        pieces = [before, script, *behind]
        whole = harness.handle(chat("".join(pieces)), api="openai.chat")
        found, _ = streamed(pieces)
        assert joined(found) == joined(whole.items)
    stream = harness.stream()
    assert [one.text for one in stream.feed(before) + stream.feed(script)] == [before]
    assert [type(one).__name__ for one in stream.feed("\n")][:2] == ["ScriptCall", "ScriptResult"]
