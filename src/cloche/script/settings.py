"""Settings of scripts as one document, such as a table of a configuration file.

Owns what may stand in it. Invariants:
- what reaches out of the sandbox is off until the document switches it on;
- a name that means nothing is an error, and never ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.limits.adapters.settings import load_limits
from cloche.script.errors import ToolDeclarationError
from cloche.script.finder import Language  # noqa: TC001 - msgspec reads it
from cloche.script.harness import Mode, ScriptHarness
from cloche.script.policy import ToolPolicy, match_glob
from cloche.script.tools import ToolSet

if TYPE_CHECKING:
    from cloche.limits import Limits

# Packs that reach beyond a folder: they have to be named to be there.
DANGEROUS: Final = ("commands", "http", "mcp", "spawn", "web")


class ScriptSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What scripts may do.

    Args:
        mode: of everything.
        modes: of providers.
        default: the language of a script that names none.
        go_on: whether scripts behind a failed one still run.
        limits: of the group `scripts`.
        provider_limits: of that group, by providers.
        tools: names of tools that are offered, with `*`; None for all.
        packs: which are on; those of `DANGEROUS` that are not named are off, the others on.
        rules: about calls, as `ToolPolicy.from_document` takes them.
    """

    mode: Mode = "disabled"
    modes: dict[str, Literal["disabled", "dry-run", "enabled"]] = {}
    default: Language = "typescript"
    go_on: bool = False
    limits: dict[str, int] = {}
    provider_limits: dict[str, dict[str, int]] = {}
    tools: list[str] | None = None
    packs: dict[str, bool] = {}
    rules: list[dict[str, Any]] = []

    @classmethod
    def from_document(cls, document: object) -> ScriptSettings:
        """Return the settings of a document.

        Raises:
            ToolDeclarationError: it has not the form of this class.
        """
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ToolDeclarationError(where="the settings", problem=str(error)) from None

    def harness(self, *tools: Any, limits: Limits | None = None, **options: Any) -> ScriptHarness:
        """Return a harness with these settings.

        Args:
            tools: what there is; the settings say what of it is offered.
            limits: of everything else; None for the configured ones.
            options: the other ones of `ScriptHarness`.

        Raises:
            LimitError: a limit is unknown or out of range.
            ToolDeclarationError: a pack or a rule is none.
        """
        whole = (limits or load_limits()).replace({"scripts": self.limits})
        found = ToolSet(*tools)
        present = {one.pack for one in found.values()}
        packs = {name: False for name in DANGEROUS if name in present} | self.packs
        offered = self.tools
        if offered is not None:
            found = ToolSet(
                *(
                    one
                    for name, one in found.items()
                    if any(match_glob(pattern, name) for pattern in offered)
                )
            )
            left = {one.pack for one in found.values()}
            packs = {name: on for name, on in packs.items() if name in left or name not in present}
        return ScriptHarness(
            found,
            packs=packs,
            policy=ToolPolicy.from_document(self.rules, limits=whole),
            mode=self.mode,
            modes=self.modes,
            default=self.default,
            go_on=self.go_on,
            limits=whole,
            provider_limits=self.provider_limits,
            **options,
        )
