"""What the text of a module says."""

import pytest

from cloche.arch.source import read_module, read_tests


def read(text, *, name="pkg.mod", is_package=False):
    """Read a module."""
    return read_module(text, name=name, path="x.py", is_package=is_package)


def names(text, **more):
    """Return the imported names in order of lines."""
    return [statement.name for statement in read(text, **more).imports]


def test_imports_are_absolute_names():
    """Each imported name comes with the module it stands in, a star with the module alone."""
    text = "import a.b, c as d\nfrom e import f as g, h\nfrom i import *\n"
    facts = read(text)
    assert [(statement.base, statement.name) for statement in facts.imports] == [
        ("a.b", "a.b"),
        ("c", "c"),
        ("e", "e.f"),
        ("e", "e.h"),
        ("i", "i"),
    ]


@pytest.mark.parametrize(
    ("is_package", "text", "expected"),
    [
        (False, "from . import x", "pkg.sub.x"),
        (False, "from .x import y", "pkg.sub.x.y"),
        (False, "from .. import x", "pkg.x"),
        (True, "from . import x", "pkg.sub.mod.x"),
        (True, "from ..x import y", "pkg.sub.x.y"),
        (False, "from ..... import x", "x"),
        (False, "import importlib\nimportlib.import_module('.x', __package__)", "pkg.sub.x"),
    ],
)
def test_relative_imports_start_from_the_package(is_package, text, expected):
    """A package stands for itself, a module for the package it is in."""
    assert names(text, name="pkg.sub.mod", is_package=is_package)[-1] == expected


def test_imports_know_when_they_run():
    """Typing guards, functions and the main guard are told apart, their other branches too."""
    text = (
        "import typing\n"
        "if typing.TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "def f():\n    import c\n"
        "class K:\n    import d\n"
        "try:\n    import e\nexcept ImportError:\n    pass\n"
        "if __name__ == '__main__':\n    import g\n"
    )
    found = {item.name: (item.type_only, item.top_level) for item in read(text).imports}
    assert found == {
        "typing": (False, True),
        "a": (True, True),
        "b": (False, True),
        "c": (False, False),
        "d": (False, True),
        "e": (False, True),
        "g": (False, False),
    }


def test_literal_dynamic_imports_are_imports():
    """A name that stands in the text is seen; one that is computed is not."""
    text = "x = [__import__('a'), import_module('b.c'), import_module(name), other('d')]\n"
    assert names(text) == ["a", "b.c"]


@pytest.mark.parametrize(
    ("text", "expected", "dynamic"),
    [
        ("x = 1", None, False),
        ("__all__ = ['a', 'b']", ("a", "b"), False),
        ("__all__: list[str] = ['a']", ("a",), False),
        ("__all__ = ('a',) + ('b',)", ("a", "b"), False),
        ("__all__ = ['a']\n__all__ += ['b']\n__all__.extend(['c'])\n__all__.append('d')",
         ("a", "b", "c", "d"), False),
        ("__all__ = ['a', *other]", ("a",), True),
        ("__all__ = [f() for f in x]", (), True),
        ("__all__ = compute()\n__all__ = ['a']", ("a",), False),
        ("__all__ = compute()\n__all__ += ['a']", ("a",), True),
        ("__all__ = ['a']\n__all__ += compute()", ("a",), True),
    ],
)  # fmt: skip
def test_exports_are_read_from_all(text, expected, dynamic):
    """Literals in every usual form; what is computed is said to be."""
    facts = read(text)
    assert facts.exported == expected
    assert facts.exported_dynamic is dynamic


def test_bound_names_go_through_control_flow():
    """Everything that is bound at module level counts, nothing inside a function does."""
    text = (
        "import a.b\nfrom c import d as e\nf = g = 1\n(h, [i, *j]) = x\nk: int = 1\n"
        "if y:\n    l = 1\nelse:\n    m = 1\n"
        "try:\n    n = 1\nexcept E:\n    o = 1\nfinally:\n    p = 1\n"
        "for q in z:\n    r = 1\nwith w as (w, x):\n    s = 1\n"
        "match z:\n    case 1:\n        y = 1\nname.attribute = other[index] = 1\nonly: int\n"
        "def t():\n    hidden = 1\nclass U:\n    hidden = 1\nasync def v(): ...\n"
    )
    assert read(text).bound == frozenset("aefghijklmnopqrstUvwxy")


def test_a_module_may_answer_names_it_does_not_bind():
    """__getattr__ and star imports make the list of bound names incomplete."""
    assert read("def __getattr__(name): ...").answers_any_name
    assert read("from x import *").answers_any_name
    assert not read("x = 1").answers_any_name


def test_functions_are_measured_with_their_owner():
    """Methods and nested functions have dotted names; decorators do not count."""
    text = (
        "@d\ndef f():\n    def g():\n        pass\n    return g\nclass K:\n    def m(self): ...\n"
    )
    sizes = [(item.name, item.line, item.line_count) for item in read(text).functions]
    assert sizes == [("f", 2, 4), ("f.g", 3, 2), ("K.m", 7, 1)]


def test_test_ids_are_functions_and_methods():
    """What pytest would collect by name; a file that is no Python has none."""
    text = (
        "def test_a(): ...\nasync def test_b(): ...\ndef helper(): ...\n"
        "class TestK:\n    def test_c(self): ...\n    class TestL:\n        def test_d(self): ...\n"
        "class Other:\n    def test_e(self): ...\n"
    )
    assert read_tests(text) == {"test_a", "test_b", "TestK::test_c", "TestK::TestL::test_d"}
    assert read_tests("def (") == frozenset()
