"""What answers the MCP tools, as a protocol: a store of one's own, or a tenant of a server.

Invariants: documents are plain JSON; a program that fails is an answer, with its error in it; what
the caller did wrong is a `ClocheError`. A method may be cancelled: what it started then ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.script.approvals import Approval, Made

Language = Literal["python", "javascript", "typescript"]
ScriptLanguage = Literal["typescript", "javascript", "python"]
Listener = Callable[[str], None]
"""Gets what a program prints, as it prints it; called from any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    Args:
        document: what it printed, its exit code, its error.
        images: the pictures that it wrote, by their paths.
    """

    document: dict[str, Any]
    images: Mapping[str, bytes] = field(default_factory=dict)


class Backend(Protocol):
    """Runs, sessions and scripts of whoever asks."""

    @property
    def may_approve(self) -> bool:
        """Whether who asks may decide about calls of scripts."""

    async def run_code(
        self,
        code: str,
        *,
        language: Language,
        files: Mapping[str, str],
        stdin: str,
        timeout_ms: int | None,
        on_output: Listener,
    ) -> Outcome:
        """Run a program once."""

    async def session_create(self, language: Language, name: str | None) -> dict[str, Any]:
        """Create a session."""

    async def session_list(self) -> list[dict[str, Any]]:
        """List sessions."""

    async def session_run(
        self, session: str, code: str, *, timeout_ms: int | None, on_output: Listener
    ) -> Outcome:
        """Run a program in a session."""

    async def session_fork(self, session: str, name: str | None) -> dict[str, Any]:
        """Create a session in the same state."""

    async def session_revert(self, session: str, last: int) -> None:
        """Undo the last runs."""

    async def session_delete(self, session: str) -> None:
        """Remove a session."""

    async def write_file(self, session: str, path: str, content: bytes) -> None:
        """Put a file in place."""

    async def read_file(self, session: str, path: str) -> bytes:
        """Return the content of a file."""

    async def list_files(self, session: str, path: str) -> list[dict[str, Any]]:
        """List what is in a directory and below."""

    async def run_script(
        self, source: str, *, language: ScriptLanguage, tools: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Run a script until it ends or waits for a person."""

    async def script_status(self, run_id: str) -> dict[str, Any]:
        """Return what has become of a script, gone on with where a decision lets it."""

    async def approvals(self, run_id: str) -> Sequence[Approval]:
        """Return what a script waits for."""

    async def decide(self, approval_id: str, made: Made) -> None:
        """Decide about a call."""

    async def journal(self, run_id: str) -> str:
        """Return the journal of a run or script as JSON Lines."""
