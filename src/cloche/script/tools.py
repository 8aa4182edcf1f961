"""Tools: functions of the host that scripts call by name.

Owns the declaration (`tool`), the set that a run has (`ToolSet`), and how its members are found.
Invariants:
- a name is one or more words with points between; no tool is also a namespace, and none hides what
  `tools` itself offers;
- arguments are checked before anything else sees them, results before a guest does;
- names are in order wherever they are listed.

It performs no call: the harness does.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

from cloche.gate.canonical import encode_plain
from cloche.gate.errors import ValueInvalidError
from cloche.script.errors import (
    ToolDeclarationError,
    ToolNotAllowedError,
    ToolNotFoundError,
    ToolValidationError,
)
from cloche.script.schemas import Invalid, Signature, read_signature

if TYPE_CHECKING:
    from cloche.limits import Limits

# A rule sees the arguments and decides: True, "ask" or "deny" with what it says, or no approval.
ApprovalRule: TypeAlias = Callable[[dict[str, Any]], "bool | Literal['allow', 'ask', 'deny']"]

NAME_PATTERN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}(?:\.[A-Za-z][A-Za-z0-9_]{0,63}){0,7}")
# What `tools` has itself, and what languages ask any object for.
RESERVED: Final = frozenset(
    "search describe help spawn then catch finally constructor prototype toString toJSON valueOf "
    "hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString name length caller arguments "
    "apply bind call".split()
)
ALL_PACKS: Final = "*"
SEARCH_COUNT_MAX: Final = 20
SUGGESTION_COUNT_MAX: Final = 3
_ARGS_HEADING: Final = re.compile(r"^(?:Args|Arguments|Parameters):\s*$")
_ARGS_ENTRY: Final = re.compile(r"^(?P<name>\w+)(?:\s*\([^)]*\))?:\s*(?P<text>.*)$")
_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool may know of the call; a parameter with this hint gets it.

    Args:
        run_id: of the script's run.
        idempotency_key: equal when the same call is performed again after a crash.
        cancelled: whether the call's result is no longer wanted; long tools look at it.
        store: where the run is kept (a `Store`), for tools that keep something beside it.
    """

    run_id: str
    idempotency_key: str
    cancelled: Callable[[], bool]
    store: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tool:
    """One tool; still callable as the function that it was made of.

    Args:
        name: as scripts write it, with its namespaces.
        summary: the first sentence of the docstring, for lists.
        description: the docstring without its arguments.
        function: sync or async.
        signature: what it takes and gives.
        context_name: the parameter that gets a `ToolContext`.
        read_only: it changes nothing, so it needs no approval and may be called again.
        requires_approval: True, False, or a rule; None lets `read_only` decide.
        revert: undoes a call: gets the arguments and the result.
        timeout_ms: None for `scripts.tool_timeout_ms`.
        idempotent: calling it twice is calling it once.
        ephemeral: its result is not kept; it is called again when a run is resumed.
        secret_args: names of arguments that nobody is shown.
        pack: tools of one pack are switched together; "" is no pack.
    """

    name: str
    summary: str
    description: str
    function: Callable[..., Any] = field(repr=False)
    signature: Signature = field(repr=False)
    context_name: str | None = None
    read_only: bool = False
    requires_approval: bool | ApprovalRule | None = None
    revert: Callable[..., Any] | None = None
    timeout_ms: int | None = None
    idempotent: bool = False
    ephemeral: bool = False
    secret_args: frozenset[str] = frozenset()
    pack: str = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, unchecked."""
        return self.function(*args, **kwargs)

    def check_args(self, args: Any, *, limits: Limits) -> dict[str, Any]:
        """Return arguments by name, as plain JSON with defaults filled in.

        Raises:
            ToolValidationError: they do not fit.
        """
        try:
            bound = self.signature.bind(args)
            encode_plain(
                bound,
                limit_bytes=limits.scripts.args_limit_bytes,
                depth_max=limits.gate.value_depth_max,
            )
        except (Invalid, ValueInvalidError) as error:
            problem = _problem(error, "scripts.args_limit_bytes")
            raise ToolValidationError(
                tool=self.name, subject="arguments", problem=problem
            ) from None
        return bound

    def check_result(self, value: Any, *, limits: Limits) -> Any:
        """Return a result as plain JSON.

        Raises:
            ToolValidationError: it is not what the tool promises, no JSON, or too large.
        """
        try:
            plain = self.signature.check_result(value)
            encode_plain(
                plain,
                limit_bytes=limits.scripts.result_limit_bytes,
                depth_max=limits.gate.value_depth_max,
            )
        except (Invalid, ValueInvalidError) as error:
            problem = _problem(error, "scripts.result_limit_bytes")
            raise ToolValidationError(tool=self.name, subject="result", problem=problem) from None
        return plain

    def describe(self) -> dict[str, Any]:
        """Return what a script may know of the tool, as JSON-ready data."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.signature.parameters,
            "returns": self.signature.returns,
            "read_only": self.read_only,
        }


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = ...,
    namespace: str = ...,
    read_only: bool = ...,
    requires_approval: bool | ApprovalRule | None = ...,
    revert: Callable[..., Any] | None = ...,
    timeout_ms: int | None = ...,
    idempotent: bool = ...,
    ephemeral: bool = ...,
    secret_args: Iterable[str] = ...,
    pack: str = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    namespace: str = "",
    read_only: bool = False,
    requires_approval: bool | ApprovalRule | None = None,
    revert: Callable[..., Any] | None = None,
    timeout_ms: int | None = None,
    idempotent: bool = False,
    ephemeral: bool = False,
    secret_args: Iterable[str] = (),
    pack: str = "",
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function: `@tool`, or `@tool(read_only=True)`.

    Name, docstring and type hints say what it is called, does, takes and gives. For the options see
    `Tool`.

    Raises:
        ToolDeclarationError: the name, a hint or an option is not possible.
    """

    def declare(function: Callable[..., Any]) -> Tool:
        full_name = name or str(getattr(function, "__name__", ""))
        if namespace:
            full_name = f"{namespace}.{full_name}"
        _check_name(full_name)
        if ephemeral and not (read_only or idempotent):
            problem = "ephemeral, so it is called again; say read_only or idempotent"
            raise ToolDeclarationError(where=full_name, problem=problem)
        if timeout_ms is not None and timeout_ms < 1:
            raise ToolDeclarationError(where=full_name, problem="timeout_ms is below 1")
        description, arguments = _read_docstring(inspect.getdoc(function) or "")
        signature = read_signature(
            function, where=full_name, descriptions=arguments, skip=ToolContext
        )
        secrets = frozenset(secret_args)
        if unknown := sorted(secrets - set(signature.names)):
            problem = f"secret_args names {', '.join(unknown)}, which it does not take"
            raise ToolDeclarationError(where=full_name, problem=problem)
        taken = set(inspect.signature(function).parameters) - set(signature.names)
        return Tool(
            name=full_name,
            summary=description.split("\n", 1)[0],
            description=description,
            function=function,
            signature=signature,
            context_name=next(iter(taken), None),
            read_only=read_only,
            requires_approval=requires_approval,
            revert=revert,
            timeout_ms=timeout_ms,
            idempotent=idempotent,
            ephemeral=ephemeral,
            secret_args=secrets,
            pack=pack,
        )

    return declare if function is None else declare(function)


def pack(name: str, *tools: Tool | Callable[..., Any] | ModuleType | ToolSet) -> ToolSet:
    """Return tools as one pack of this name, which is switched on and off as a whole.

    Raises:
        ToolDeclarationError: as `ToolSet`, or the name is empty.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ToolDeclarationError(where=repr(name), problem="it is no name of a pack")
    return ToolSet(*(replace(one, pack=name) for one in ToolSet(*tools).values()))


class ToolSet(Mapping[str, Tool]):
    """The tools of a run, by name, in the order of their names.

    Args:
        tools: tools, plain functions (which become tools), modules and other sets.
        packs: False switches a pack off: its tools are not there, and calling one says so. `*`
            stands for the packs that are not named. Tools without a pack are always on.

    Raises:
        ToolDeclarationError: a name twice, a tool that is also a namespace, a pack that no tool is
            of, or something else that is no tool.
    """

    def __init__(
        self,
        *tools: Tool | Callable[..., Any] | ModuleType | ToolSet,
        packs: Mapping[str, bool] | None = None,
    ) -> None:
        found: dict[str, Tool] = {}
        for member in (one for source in tools for one in _members(source)):
            if member.name in found:
                raise ToolDeclarationError(where=member.name, problem="there are two of this name")
            found[member.name] = member
        for name in found:
            parts = name.split(".")
            for count in range(1, len(parts)):
                space = ".".join(parts[:count])
                if space in found:
                    problem = f"it is a tool, and the namespace of {name}"
                    raise ToolDeclarationError(where=space, problem=problem)
        packs = dict(packs or {})
        if unknown := sorted(set(packs) - {ALL_PACKS} - {one.pack for one in found.values()}):
            raise ToolDeclarationError(where=unknown[0], problem="no tool is of this pack")
        ordered = dict(sorted(found.items()))
        rest = packs.get(ALL_PACKS, True)
        on = {name for name, one in ordered.items() if not one.pack or packs.get(one.pack, rest)}
        self._tools = {name: one for name, one in ordered.items() if name in on}
        self._off: dict[str, str] = {}
        for source in tools:
            self._off |= source._off if isinstance(source, ToolSet) else {}
        self._off |= {name: one.pack for name, one in ordered.items() if name not in on}

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def find(self, name: str) -> Tool:
        """Return the tool of this name.

        Raises:
            ToolNotFoundError: there is none; the most similar names are in the error.
            ToolNotAllowedError: its pack is switched off.
        """
        found = self._tools.get(name)
        if found is not None:
            return found
        if name in self._off:
            raise ToolNotAllowedError(tool=name, pack=self._off[name], allowed=list(self._tools))
        lowered = {known.lower(): known for known in self._tools}
        tails = [known for known in self._tools if known.rpartition(".")[2] == name]
        close = difflib.get_close_matches(name.lower()[:200], lowered, SUGGESTION_COUNT_MAX)
        suggestions = list(dict.fromkeys([*tails, *(lowered[match] for match in close)]))
        raise ToolNotFoundError(tool=name[:200], suggestions=suggestions[:SUGGESTION_COUNT_MAX])

    def search(self, query: str, *, count_max: int = SEARCH_COUNT_MAX) -> list[dict[str, Any]]:
        """Return name and summary of the tools that fit a query best, the best first.

        A word in the name counts more than one in the description; no word fits every tool.
        """
        wanted = _words(query)
        scored = [(_score(member, wanted), name) for name, member in self._tools.items()]
        best = sorted((-score, name) for score, name in scored if score or not wanted)
        return [
            {"name": name, "summary": self._tools[name].summary} for _, name in best[:count_max]
        ]


def _members(source: Tool | Callable[..., Any] | ModuleType | ToolSet) -> Iterable[Tool]:
    if isinstance(source, Tool):
        return [source]
    if isinstance(source, ToolSet):
        return source.values()
    if isinstance(source, ModuleType):
        public = (value for name, value in vars(source).items() if not name.startswith("_"))
        return list(dict.fromkeys(value for value in public if isinstance(value, Tool)))
    if callable(source):
        return [tool(source)]
    problem = "it is no tool, function or module"
    if isinstance(source, str):
        problem += "; give a set of tools itself, not its names: ScriptHarness(tools)"
    raise ToolDeclarationError(where=repr(source)[:80], problem=problem)


def _check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        problem = "a name is made of words, each of letters, digits and _, with points between"
        raise ToolDeclarationError(where=repr(name), problem=problem)
    if reserved := sorted(RESERVED.intersection(name.split("."))):
        problem = f"{reserved[0]} has a meaning of its own; choose another name"
        raise ToolDeclarationError(where=name, problem=problem)


def _problem(error: Invalid | ValueInvalidError, limit: str) -> str:
    too_large = isinstance(error, ValueInvalidError) and error.fields["reason"] == "size"
    return f"{error} ({limit})" if too_large else str(error)


def _score(member: Tool, wanted: frozenset[str]) -> int:
    in_name, in_text = _words(member.name), _words(member.description)
    score = 0
    for word in wanted:
        if word in in_name:
            score += 4
        elif any(known.startswith(word) for known in in_name):
            score += 2
        elif word in in_text:
            score += 1
    return score


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(_HUMP.sub(" ", text)))


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return a docstring without its section of arguments, and what that says of each."""
    kept: list[str] = []
    arguments: dict[str, str] = {}
    inside = False
    current, base = "", 0
    for line in text.splitlines():
        if _ARGS_HEADING.match(line):
            inside = True
            continue
        if inside and line and not line[0].isspace():
            inside = False
        if not inside:
            kept.append(line)
            continue
        entry = _ARGS_ENTRY.match(line.strip())
        indent = len(line) - len(line.lstrip())
        if entry and (not current or indent <= base):
            current, base = entry["name"], indent
            arguments[current] = entry["text"].strip()
        elif current and line.strip():
            arguments[current] = f"{arguments[current]} {line.strip()}".strip()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), arguments
