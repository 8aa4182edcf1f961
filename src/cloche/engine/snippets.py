"""JavaScript for a session: a module's imports and exports as statements of a script.

Top-level declarations of a script stay in the global scope, those of a module do not; so a session
runs its snippets as scripts, in which `import` and `export` declarations cannot stand. Here they
become what they mean: an awaited dynamic import, and a plain declaration. Pure; line numbers stay.
A source that is no valid program comes back as it went in where it is not understood: the engine
reports the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.engine.tokens import Token, line_starts, tokenize

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN: Final = frozenset("([{")
_CLOSE: Final = frozenset(")]}")
_DECLARATIONS: Final = frozenset({"const", "let", "var", "function", "class", "async"})


def as_script(source: str) -> str:
    """Return the snippet with its top-level imports and exports rewritten.

    Args:
        source: JavaScript, types stripped.
    """
    if "import" not in source and "export" not in source:
        return source
    tokens = tokenize(source)
    starts = _offsets(source, tokens)
    pieces: list[str] = []
    position = 0
    for first, last, text in _declarations(tokens):
        begin, end = starts[first], starts[last] + len(tokens[last].text)
        pieces += (source[position:begin], text, "\n" * source.count("\n", begin, end))
        position = end
    return "".join((*pieces, source[position:]))


def _offsets(source: str, tokens: list[Token]) -> list[int]:
    starts = line_starts(source)
    return [starts[token.line] + token.column for token in tokens]


def _declarations(tokens: list[Token]) -> Iterator[tuple[int, int, str]]:
    """Yield (first token, last token, what stands there instead), in order."""
    depth = index = 0
    while index < len(tokens):
        text = tokens[index].text
        found = None
        if depth == 0 and _begins_statement(tokens, index):
            if text == "import":
                found = _import(tokens, index)
            elif text == "export":
                found = _export(tokens, index)
        if found is not None:
            yield index, found[0], found[1]
            index = found[0] + 1
            continue
        if text in _OPEN or text.endswith("${"):
            depth += 1
        elif text in _CLOSE or (text.startswith("}") and text.endswith("`")):
            depth -= 1
        index += 1


def _begins_statement(tokens: list[Token], index: int) -> bool:
    if index == 0:
        return True
    before = tokens[index - 1]
    return before.text in (";", "}") or before.line < tokens[index].line


def _import(tokens: list[Token], index: int) -> tuple[int, str] | None:
    end = index + 1
    if end < len(tokens) and tokens[end].text in ("(", "."):
        return None  # a call, or import.meta
    while end < len(tokens) and not _is_string(tokens, end, index):
        end += 1
    if end == len(tokens):
        return None
    call = f"await import({tokens[end].text})"
    clause = [token.text for token in tokens[index + 1 : end]]
    last = _past_attributes(tokens, end)
    if not clause:
        return last, f"{call};"
    if clause[-1] != "from":
        return None
    text = _bindings(clause[:-1], call)
    return None if text is None else (last, text)


def _is_string(tokens: list[Token], index: int, start: int) -> bool:
    is_string = tokens[index].text[0] in "'\""
    return is_string and (index == start + 1 or tokens[index - 1].text == "from")


def _past_attributes(tokens: list[Token], last: int) -> int:
    following = [token.text for token in tokens[last + 1 : last + 3]]
    if following == ["with", "{"]:
        while last + 1 < len(tokens) and tokens[last].text != "}":
            last += 1
    if last + 1 < len(tokens) and tokens[last + 1].text == ";":
        last += 1
    return last


def _bindings(clause: list[str], call: str) -> str | None:
    names: list[str] = []
    if clause and clause[0] not in ("{", "*"):
        names.append(f"default: {clause[0]}")
        if len(clause) > 1 and clause[1] != ",":
            return None
        clause = clause[2:]
    match clause:
        case []:
            pass
        case ["*", "as", name]:
            rest = f", {{ {names[0]} }} = {name}" if names else ""
            return f"const {name} = {call}{rest};"
        case ["{", *inside, "}"]:
            names += _named(inside)
        case _:
            return None
    return f"const {{ {', '.join(names)} }} = {call};"


def _named(inside: list[str]) -> Iterator[str]:
    item: list[str] = []
    for text in [*inside, ","]:
        if text != ",":
            item.append(text)
        elif item:
            yield f"{item[0]}: {item[2]}" if len(item) == len("a as b".split()) else item[0]
            item = []


def _export(tokens: list[Token], index: int) -> tuple[int, str] | None:
    following = [token.text for token in tokens[index + 1 : index + 3]]
    if not following:
        return None
    if following[0] in _DECLARATIONS:
        return index, ""
    if following[0] == "default":
        is_named = len(following) > 1 and following[1] in ("function", "class", "async")
        return index + 1, "" if is_named else "void "
    if following[0] != "{":
        return None
    end = index + 1
    while end < len(tokens) and tokens[end].text != "}":
        end += 1
    if end + 1 < len(tokens) and tokens[end + 1].text == "from":
        return None
    return min(end, len(tokens) - 1), ""
