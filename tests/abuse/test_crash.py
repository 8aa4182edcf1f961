"""Attack: breaking the interpreter itself."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes

CRASHES = {
    "abort": "import os; os.abort()",
    "a signal": "import signal; signal.raise_signal(9)",
    "a segmentation fault": "import faulthandler; faulthandler._sigsegv()",
    "a fatal error": "import faulthandler; faulthandler._fatal_error_c_thread()",
    "bytecode that is none": (
        "code = (lambda: 0).__code__\nexec(code.replace(co_code=b'\\x64\\xff' * 200, co_consts=()))"
    ),
    "an iterator with a broken state": (
        "import sys\nsys.modules.clear()\nimport gc\n"
        "for thing in gc.get_objects():\n    if type(thing) is dict: thing.clear()"
    ),
}


@pytest.mark.parametrize("code", CRASHES.values(), ids=CRASHES.keys())
def test_the_instance_dies_alone(code):
    """However it ends, it ends as data, and the process goes on."""
    result, _ = attack(code, "python")
    assert "still here" not in result.run.stdout


@pytest.mark.parametrize("name", ["abort", "a segmentation fault", "bytecode that is none"])
def test_a_crash_is_told_as_one(name):
    """The guest broke down: nobody's limit, nobody's error."""
    result, error = attack(CRASHES[name], "python")
    assert error is not None
    assert (error.case, error.fields["reason"]) == ("internal", "trap")
    assert (result.run.exit_code, result.run.signal) == (None, "SIGKILL")


def test_javascript_aborts_as_node_does():
    """process.abort is an exit with the code of an abort."""
    completes("process.abort()", "javascript", exit_code=134)


def test_broken_state_does_not_reach_the_next_run():
    """What one run does to its modules is gone with its instance."""
    attack("import json, builtins\njson.dumps = None\nbuiltins.len = None", "python")
    assert completes("import json\nprint(json.dumps(len([1])))", "python") == "1\n"
    attack("JSON.stringify = null; Array.prototype.map = null; delete globalThis.Map", "javascript")
    code = "console.log(JSON.stringify([1].map((n) => n + new Map().size)))"
    assert completes(code, "javascript") == "[1]\n"
