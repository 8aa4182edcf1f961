"""Tests of alignment: what is left of a program stands where it stood, and is the same program.

Programs are made of statements whose tokens are marked as kept or erased. The reprint has the kept
ones in a layout of its own, as type strippers print. Names are unique, so that each has one place.
"""

from __future__ import annotations

from itertools import count, pairwise

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from cloche.engine.alignment import align, same_tokens
from cloche.engine.tokens import tokenize
from engine.adapters.support import images

KEPT, ERASED = True, False
TYPES = [
    *("number", "string[]", "Map < string , number >", "{ x ? : 1 ; y : A }", "typeof a | null"),
    *(
        "( a : any ) => void",
        "keyof A & { }",
        "'left' | \"right\"",
        "readonly [ a : 1 , ... b : any ]",
    ),
]
EXPRESSIONS = [
    *(
        "literal",
        "N . N << ! >> . N ( N )",
        "N ? N : N",
        "( N << : T >> ) => N + 1",
        "N << as T >>",
    ),
    *("( N ) => N", "{ N : N , N : [ 1 , 2 ] }", "N << satisfies T >>", "N + N"),
]
STATEMENTS = [
    *("let N = E ;", "const N << : T >> = E ;", "var N = E ;", "N ( E , E ) ;"),
    *("<< interface N { a : T ; } >>", "<< type N < A > = T ; >>", "<< declare const N : T ; >>"),
    "function N << < A > >> ( N << ? : T >> , N << : T >> ) << : T >> { return E ; }",
    "class N << implements N >> { << private readonly >> N << : T >> = E ; }",
]
SPACES = [" ", "   ", "\t", " /* : T = 1; */ ", "/**/"]
BREAKS = ["\n", "\n    ", "\r\n", "\n\n\n", " // let x\n  ", " /** a\n * b */ "]
MAY_BREAK = {"{", "(", ",", "=", ":", ";", "|", "&", "}", "[", "]"}
NO_BREAK_AFTER = {"return", "readonly", "private", "declare", "interface", "type"}


class Writer:
    """Makes statements: lists of (token, kept or erased). Every name is new."""

    def __init__(self, draw):
        self.draw = draw
        self.numbers = count(1)

    def tokens(self, text):
        """Return tokens: `N` becomes a new name, `T` a type; what stands in << >> is erased."""
        found, keep = [], KEPT
        for word in text.split():
            if word in ("<<", ">>"):
                keep = word == ">>"
            elif word == "E":
                found += self.expression()
            elif word == "T":
                found += [(part, keep) for part in self.draw(st.sampled_from(TYPES)).split()]
            else:
                found.append((f"n{next(self.numbers)}" if word == "N" else word, keep))
        return found

    def expression(self):
        """Return a value."""
        literal = self.draw(st.sampled_from(["'a b'", "`t ${1} u`", "/r[/]/g"]))
        form = self.draw(st.sampled_from(EXPRESSIONS))
        return [(literal, KEPT)] if form == "literal" else self.tokens(form)

    def program(self):
        """Return some statements."""
        forms = self.draw(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=8))
        return [self.tokens(form) for form in forms]


@st.composite
def programs(draw):
    """Return a program as a list of statements."""
    return Writer(draw).program()


def write(program, draw):
    """Return the source of a program, with any spaces that do not change what it means."""
    out = [draw(st.sampled_from(SPACES + BREAKS))]
    for statement in program:
        for (text, _), (following, _) in pairwise([*statement, (";", KEPT)]):
            open_end = text in MAY_BREAK or following in MAY_BREAK
            may_break = open_end and following != "=>" and text not in NO_BREAK_AFTER
            out += [text, draw(st.sampled_from(SPACES + BREAKS * may_break))]
        out.append(draw(st.sampled_from(BREAKS)))
    return "".join(out)


def without_comments(source):
    """Return a source with every comment made a space: some places for one undo the alignment."""
    return (
        source.replace(" // let x", "")
        .replace(" /* : T = 1; */ ", " ")
        .replace("/**/", " ")
        .replace(" /** a\n * b */ ", " ")
    )


def reprint(program):
    """Return the kept tokens, a statement a line."""
    lines = [" ".join(text for text, keep in statement if keep) for statement in program]
    return "\n".join(line for line in lines if line) + "\n"


def places(source, wanted):
    """Return (line, column) of each name of a program, by name."""
    return {
        token.text: (token.line, token.column) for token in tokenize(source) if token.text in wanted
    }


def names_of(program):
    """Return the names that stay."""
    return {t for s in program for t, keep in s if keep and t[0] == "n" and t[1:].isdigit()}


@given(programs(), st.data())
@settings(max_examples=200, deadline=None)
def test_every_name_stands_where_it_stood(program, data):
    """Line and column of each name of what is left are those of the source."""
    source = write(program, data.draw)
    aligned = align(source, reprint(program))
    assert same_tokens(aligned, reprint(program))
    names = names_of(program)
    assert places(aligned, names) == places(source, names)


@given(programs(), st.data())
@settings(max_examples=40, deadline=None)
def test_the_real_transformer_keeps_positions_too(program, data):
    """The same through the transformer that runs in production."""
    source = without_comments(write(program, data.draw))
    note(repr(source))
    stripped = images().typescript().strip_types(source, "a.ts")
    names = names_of(program)
    assert places(stripped, names) == places(source, names)
    assert "interface" not in stripped.split()


PIECES = [
    "a",
    "b",
    "(",
    ")",
    "{",
    "}",
    ";",
    "=>",
    "return",
    "++",
    "1",
    "'x'",
    "`t`",
    "\n",
    " ",
    "//c\n",
]
ANY = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


@given(ANY | st.text(max_size=30), ANY | st.text(max_size=30))
def test_the_result_is_the_reprint_whatever_the_source_is(source, printed):
    """However little the two have in common, the tokens are those of the reprint."""
    assert same_tokens(align(source, printed), printed)


@given(programs(), st.data())
def test_a_program_without_types_stays(program, data):
    """What nothing was erased from keeps its layout, comments aside."""
    program = [[(text, KEPT) for text, _ in statement] for statement in program]
    source = write(program, data.draw)
    aligned = align(source, reprint(program))
    assert [t[:3] for t in tokenize(aligned)] == [t[:3] for t in tokenize(source)]


# --- by example ---


@pytest.mark.parametrize(
    ("source", "printed", "expected"),
    [
        ("let a: number = 1;", "let a = 1;\n", "let a         = 1;\n"),
        ("interface A {\n  x: 1\n}\nf();", "f();\n", "\n\n\nf();\n"),
        (
            "function f<T>(a: T,\n  b?: T): T {\n  return a;\n}",
            "function f(a, b) {\n\treturn a;\n}\n",
            "function f   (a   ,\n  b    )    {\n  return a;\n}\n",
        ),
        ("f(\"a\", 'b');", 'f("a", "b");\n', 'f("a", "b");\n'),
        ("", "", "\n"),
        ("type A = 1;", "export {};\n", "export {} ;\n"),
        ("let a = `1\n2`, b: T;", "let a = `1\n2`, b;\n", "let a = `1\n2`, b   ;\n"),
    ],
)
def test_layouts(source, printed, expected):
    """Erased parts leave spaces and empty lines."""
    assert align(source, printed) == expected


def test_no_break_where_it_would_end_a_statement():
    """A value that stood on the line after its `return` is pulled up, as the reprint has it."""
    source = "function f() { return <T>(\n  a\n); }"
    aligned = align(source, "function f() {\n\treturn a;\n}\n")
    assert "return a" in aligned
    assert align("x\n++y", "x;\n++y;\n").split() == ["x;", "++y;"]
    assert "\n" not in align("async <T>(\na) => 1", "async (a) => 1;\n").partition("(")[0]
    assert align("a\n=> 1", "a => 1;\n").startswith("a =>")


def test_a_break_of_the_reprint_stays_where_it_may_end_a_statement():
    """Where the reprint relies on a line break, there is one."""
    assert align("a b", "a\nb\n") == "a\nb\n"


@pytest.mark.parametrize("comment", ["/* c */", "/** @type {X} */", "/* c\n * d\n */"])
def test_comments_before_a_value_keep_lines(comment):
    """The transformer puts parentheses around such a value; that costs a column at most."""
    source = f"let n1: T = {comment} {{ n2: 1, n3: [2] }};\n  f(n4);\n"
    stripped = images().typescript().strip_types(source, "a.ts")
    names = {"n1", "n2", "n3", "n4"}
    found, expected = places(stripped, names), places(source, names)
    assert {name: line for name, (line, _) in found.items()} == {
        name: line for name, (line, _) in expected.items()
    }


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("let a: T = /* c */ b", "let a = (/* c */ b);\n"),
        ("let a: T = /* c\n d */ b", "let a = (/* c\nd */ b);\n"),
        ("  a / /* c */ b", "a / /* c */ b;\n"),
        ("  f(/r/ /* c */)", "f(/r/ /* c */);\n"),
        ("a(); // b /* c\n/* d */ e()", "a(); // b /* c\n/* d */ e();\n"),
    ],
)
def test_comments_of_the_reprint_stay(source, printed):
    """A comment is kept whole, in its place among the tokens, and swallows none of them."""
    aligned = align(source, printed)
    assert aligned != printed
    assert "*/" in aligned
    assert same_tokens(aligned, printed)


def test_many_equal_lines():
    """A program of one line over and over is still the same program."""
    source, printed = "let a: T = 1;\n" * 3000, "let a = 1;\n" * 3000
    assert same_tokens(align(source, printed), printed)


def test_white_space_and_comments_do_not_make_a_difference():
    """Only tokens count."""
    assert same_tokens("a=b // c", " a /**/ = \n b")
    assert not same_tokens("a=b", "a==b")
    assert not same_tokens("a", "a b")
    assert not same_tokens("'a'", '"a"')
