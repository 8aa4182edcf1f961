"""Attack: source that the compiler cannot bear."""

from __future__ import annotations

import pytest

import cloche
from abuse.support import attack, check_next_run, completes, make_limits

NESTED_PYTHON = {
    "parentheses": "'(' * 10**5 + ')' * 10**5",
    "brackets": "'[' * 10**5 + ']' * 10**5",
    "minus": "'-' * 10**5 + '1'",
    "not": "'not ' * 10**5 + '1'",
    "lambda": "'lambda:' * 10**5 + '1'",
    "attributes": "'a' + '.a' * 10**5",
    "calls": "'a' + '()' * 10**5",
    "subscripts": "'a' + '[0]' * 10**5",
    "conditions": "'1 if 1 else ' * 10**5 + '1'",
    "powers": "'1' + '**1' * 10**5",
    "f-strings": "\"f'{\" * 10**4 + '1'",
}

NESTED_JAVASCRIPT = {
    "parentheses": "'('.repeat(1e5) + '1' + ')'.repeat(1e5)",
    "brackets": "'['.repeat(1e5) + ']'.repeat(1e5)",
    "blocks": "'{'.repeat(1e5) + '}'.repeat(1e5)",
    "minus": "'- '.repeat(1e5) + '1'",
    "if": "'if(1)'.repeat(1e5) + ';'",
    "else": "'if(0);else '.repeat(1e5) + ';'",
    "conditions": "'1?1:'.repeat(1e5) + '1'",
    "functions": "'()=>{'.repeat(1e5) + '}'.repeat(1e5)",
    "templates": "'`${'.repeat(1e5) + '1' + '}`'.repeat(1e5)",
    "classes": "'(class extends '.repeat(1e4) + 'Object' + '{})'.repeat(1e4)",
    "patterns": "'let ' + '[a,'.repeat(1e5) + 'b' + ']'.repeat(1e5) + '=1'",
    "variables": "'() => { var ' + Array.from({ length: 7e4 }, (_, i) => 'a' + i) + ' }'",
}


@pytest.mark.parametrize("source", NESTED_PYTHON.values(), ids=NESTED_PYTHON.keys())
def test_python_source_that_nests_too_deep(source):
    """Compiling it is an error of the program, or the end of its memory or stack."""
    _, error = attack(f"eval({source})", "python")
    assert error is not None
    assert error.case in {"runtime-failed", "resource-exceeded"}, error


@pytest.mark.parametrize("source", NESTED_JAVASCRIPT.values(), ids=NESTED_JAVASCRIPT.keys())
def test_javascript_source_that_nests_too_deep(source):
    """Compiling it is an error of the program, or the end of its memory or stack."""
    _, error = attack(f"(0, eval)({source})", "javascript")
    assert error is not None
    assert error.case in {"runtime-failed", "resource-exceeded"}, error


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("(" * 10**5 + ")" * 10**5, "python"),
        ("-" * 10**5 + "1", "python"),
        ("x = 1\n" + "if x:\n" + " pass\n" + "elif x:\n pass\n" * 10**4, "python"),
        ("[" * 10**5 + "]" * 10**5, "javascript"),
        ("{" * 10**5 + "}" * 10**5, "javascript"),
        ("[" * 10**5 + "]" * 10**5, "typescript"),
        ("type A = " + "Array<" * 10**5 + "1" + ">" * 10**5, "typescript"),
    ],
)
def test_a_program_that_cannot_be_compiled(code, language):
    """The program itself is the bomb: nothing of it runs, and the error says what it was."""
    limits = make_limits(output_limit_bytes=1 << 20)
    with pytest.raises(cloche.ExecError) as caught:
        cloche.run(code, language=language, limits=limits)
    assert caught.value.case in {"compilation-failed", "runtime-failed", "resource-exceeded"}
    assert caught.value.result.run.stdout == ""
    check_next_run("python" if language == "python" else "javascript")


@pytest.mark.parametrize(
    "code",
    [
        "(*" * 100 + "x" + ")" * 100,
        "x = " + "(" * 90 + "((yield)," * 5,
        "\0",
        "\ufeff\ufeff",
        "if 1:\n" + "".join(" " * i + "if 1:\n" for i in range(1, 200)),
        "1_" * 1000,
        "0x" + "f" * 10**5 + "g",
        "'\\N{" + "x" * 10**5 + "}'",
        "9" * 5000,
    ],
)
def test_python_that_is_no_python(code):
    """Whatever the parser says, it says it as a failure to compile."""
    limits = make_limits(output_limit_bytes=1 << 20)
    with pytest.raises(cloche.CompilationFailedError):
        cloche.run(code, language="python", limits=limits)
    check_next_run("python")


def test_long_flat_source_compiles():
    """Length alone is no nesting."""
    assert completes("print(eval('+'.join(['1'] * 100)))", "python") == "100\n"
    code = "console.log((0, eval)(Array(1e5).fill('1').join('+')))"
    assert completes(code, "javascript") == "100000\n"
    code = "(0, eval)('switch(1){' + 'case 1:'.repeat(1e5) + '}'); console.log('end')"
    assert completes(code, "javascript") == "end\n"
