"""Stripping types: positions stay, hostile sources end in an error."""

from __future__ import annotations

import threading

import pytest

from cloche.engine.adapters import typescript as module
from cloche.engine.adapters.typescript import TypeScript
from cloche.engine.errors import ImageError, TypeScriptError
from cloche.limits import Limits

from .support import images


@pytest.fixture(scope="module")
def transformer() -> TypeScript:
    """Return the transformer of this process."""
    return images().typescript()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("let a: number = 1;\nlet b: string;\n", "let a         = 1;\nlet b        ;\n"),
        ("interface A { x: 1 }\nlet b = 1 as any;", None),
        ("type T = {\n  a: 1;\n};\nf<T>(x!);\n", None),
        ("enum E { A, B }\nconst x = E.A;\n", None),
        ("class A { constructor(private x: number) {} }\n", None),
        ("", ""),
        ("const x = 1;\n", "const x = 1;\n"),
    ],
)
def test_types_go_and_positions_stay(
    source: str, expected: str | None, transformer: TypeScript
) -> None:
    """What is left is JavaScript; every name of a value stands on the line where it stood."""
    stripped = transformer.strip_types(source, "a.ts")
    if expected is not None:
        assert stripped.split() == expected.split()
    assert "interface" not in stripped
    assert "type T" not in stripped
    for line, text in enumerate(source.splitlines()):
        for name in ("let b", "f", "const x", "class A"):
            if text.startswith(name):
                assert stripped.splitlines()[line].startswith(name)


def test_syntax_error_has_its_line(transformer: TypeScript) -> None:
    """The error names file and line, and shows the text."""
    source = "let a: number = 1;\nlet b = 2;\nlet c: = 3;\nlet d = 4;\n"
    with pytest.raises(TypeScriptError) as caught:
        transformer.strip_types(source, "dir/a.ts")
    error = caught.value
    assert (error.filename, error.line, error.fields["text"]) == ("dir/a.ts", 3, "let c: = 3;")
    assert error.message.startswith("dir/a.ts:3: ")
    assert error.display().startswith("dir/a.ts:3\nlet c: = 3;\nSyntaxError: ")


def test_jsx_only_in_tsx(transformer: TypeScript) -> None:
    """An angle bracket is a type assertion in .ts and an element in .tsx."""
    assert "<any>" not in transformer.strip_types("let a = <any>b;", "a.ts")
    with pytest.raises(TypeScriptError):
        transformer.strip_types("let a = <any>b;", "a.tsx")


@pytest.mark.parametrize(
    "source",
    ["(" * 100_000, "a" + "." * 1000, "`${" * 10_000, "<" * 50_000, "\0", "}" * 99],
    ids=["parentheses", "dots", "templates", "angles", "nul", "braces"],
)
def test_hostile_source_is_an_error(source: str, transformer: TypeScript) -> None:
    """Nesting that no parser survives costs one instance, not the process."""
    with pytest.raises(TypeScriptError) as caught:
        transformer.strip_types(source, "a.ts")
    assert caught.value.reason
    assert transformer.strip_types("let after: 1;", "a.ts").split() == ["let", "after", ";"]


def test_deadline(transformer: TypeScript) -> None:
    """A transformation that takes longer than the limit allows is an error that says so."""
    limits = Limits().replace({"guests": {"timeout_ms": 1}})
    engine = images()._engine(fuel=False)
    loaded = engine.load(images().cache.path(images()._compiled_name(module.module_path(), engine)))
    quick = TypeScript(engine, loaded, limits)
    with pytest.raises(TypeScriptError) as caught:
        quick.strip_types("let a: number = [" + "1," * 400_000 + "];\n", "a.ts")
    assert caught.value.reason == "took too long to parse"


def test_cache_is_bounded(transformer: TypeScript, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same source is transformed once; old ones are forgotten."""
    calls: list[str] = []
    real = transformer._strip
    monkeypatch.setattr(
        transformer, "_strip", lambda source, *rest: calls.append(source) or real(source, *rest)
    )
    for _ in range(2):
        transformer.strip_types("let once: 1;", "a.ts")
    assert calls == ["let once: 1;"]
    transformer.strip_types("let once: 1;", "a.tsx")
    assert len(calls) == 2
    for number in range(module.CACHE_COUNT_MAX):
        transformer.strip_types(f"let n{number}: 1;", "a.ts")
    assert len(transformer._cache) == module.CACHE_COUNT_MAX
    transformer.strip_types("let once: 1;", "a.ts")
    assert calls[-1] == "let once: 1;"


def test_from_many_threads(transformer: TypeScript) -> None:
    """Calls at the same time do not disturb each other."""
    found: dict[int, str] = {}

    def strip(number: int) -> None:
        found[number] = transformer.strip_types(f"let t{number}: number = {number};", "a.ts")

    threads = [threading.Thread(target=strip, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: text.split() for number, text in found.items()} == {
        number: ["let", f"t{number}", "=", f"{number};"] for number in range(8)
    }


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without quickjs-rs the error says what to install."""
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImageError, match=r"^the package quickjs-rs is not installed; reinstall"):
        module.module_path()
