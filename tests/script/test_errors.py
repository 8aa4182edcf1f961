"""Tests of the taxonomy: each failure has its code, its advice and its way over the wire."""

from __future__ import annotations

import inspect
import json
import pickle

import pytest

from cloche.script import errors
from cloche.script.errors import TAXONOMY, ScriptError, ScriptTagError, ToolExecutionError

EXAMPLES = [
    errors.ScriptSyntaxError("a brace is missing", line=3, column=7, snippet="  if (a {"),
    errors.ScriptTimeoutError(timeout_ms=10, elapsed_ms=12, completed=["a"], pending=["b"]),
    errors.ScriptMemoryError(limit_bytes=10),
    errors.ScriptStackOverflowError(),
    errors.ApprovalDeniedError(tool="t", reason="no", who="ann"),
    errors.ApprovalTimeoutError(tool="t", expires_ms=5),
    errors.ToolExecutionError(tool="t", problem="exit code 2", stderr="x", exit_code=2),
    errors.ToolNotFoundError(tool="t", suggestions=["u", "v"]),
    errors.ToolNotAllowedError(tool="t", pack="web", allowed=["u"]),
    errors.ToolValidationError(tool="t", subject="arguments", problem="expected int"),
    errors.DetachedPromiseError(calls=["t (line 3)"]),
    errors.HarnessInternalError(problem="p"),
    errors.SerializationError(path="$.a", problem="is a function"),
    errors.ScriptTooLargeError(
        what="script", limit="scripts.source_limit_bytes", limit_bytes=1, found_bytes=2
    ),
    errors.ReturnValueTooLargeError(limit_bytes=1, found_bytes=2, preview="{"),
    errors.ToolBudgetExceededError(limit=32),
    errors.ConcurrencyLimitError(limit=4),
    errors.BannedIdentifierError(name="require", line=1, column=2, advice="Use tools."),
    errors.ScriptCancelledError(reason="Ctrl-C"),
    errors.ScriptRuntimeError("Error: x", line=3),
]
NOT_RETRYABLE = {
    "APPROVAL_DENIED",
    "APPROVAL_TIMEOUT",
    "TOOL_BUDGET_EXCEEDED",
    "SCRIPT_CANCELLED",
}


def test_the_taxonomy_is_complete():
    """Each class has its code, and none is not listed."""
    declared = {
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, ScriptError) and member is not ScriptError and "code" in vars(member)
    }
    assert declared == set(TAXONOMY)
    assert len({cls.code for cls in TAXONOMY}) == len(TAXONOMY) == 20
    assert [type(example) for example in EXAMPLES] == list(TAXONOMY)


def test_what_a_new_script_cannot_mend():
    """Denied, timed out, out of budget and cancelled are final; the rest can be tried again."""
    assert {cls.code for cls in TAXONOMY if not cls.retryable} == NOT_RETRYABLE


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_an_error_survives_pickling_and_json(error):
    """Its class, its message and all its fields."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.to_document()) == (type(error), error.to_document())
    assert json.loads(json.dumps(error.to_document())) == error.to_document()


def test_a_syntax_error_shows_the_place():
    """Line, column and the text there."""
    assert EXAMPLES[0].message == (
        "the script cannot be read (line 3, column 7): a brace is missing: if (a {. "
        "Nothing ran; correct it and send it again"
    )
    assert errors.ScriptSyntaxError("no end").message.startswith(
        "the script cannot be read: no end."
    )


def test_a_tag_error_is_a_syntax_error():
    """It has the same code, and the line of the message."""
    error = ScriptTagError("nested", line=4, advice="close the first one")
    assert error.message == "the script at line 4 of the message did not run: close the first one"
    assert (error.code, error.fields) == ("SCRIPT_SYNTAX", {"problem": "nested", "line": 4})
    assert pickle.loads(pickle.dumps(error)).to_document() == error.to_document()


def test_a_tool_s_error_output_is_cut_at_its_start():
    """The end is kept, and a mark says that something is missing."""
    error = ToolExecutionError(tool="t", problem="p", stderr="a" + "b" * 2048)
    assert error.fields["stderr"] == "<truncated>" + "b" * 2048
    assert ToolExecutionError(tool="t", problem="p", stderr="b" * 2048).stderr == "b" * 2048


def test_a_message_lists_few_calls():
    """More than twenty are counted."""
    names = [f"t{index}" for index in range(23)]
    assert ", t19 and 3 more." in errors.DetachedPromiseError(calls=names).message
    assert "t19." in errors.DetachedPromiseError(calls=names[:20]).message


def test_an_unknown_tool_without_a_likely_name():
    """The model is told how to look for one."""
    assert errors.ToolNotFoundError(tool="x").message == (
        "there is no tool 'x'. tools.search(words) finds tools."
    )
