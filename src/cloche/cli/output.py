"""What commands print: errors, JSON, and progress on work that takes seconds."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cloche.engine.adapters.images import ProgressStage
    from cloche.errors import ClocheError

# Typical seconds on two cores; the bar only needs to be about right.
_EXPECTED_S: Final = {"compile": 50.0, "warm": 3.0}
_REFRESH_S: Final = 0.2
_RED: Final = "\x1b[31m"
_RESET: Final = "\x1b[0m"


def print_error(error: ClocheError, *, as_json: bool = False) -> None:
    """Print an error on stderr, or as one JSON object on stdout."""
    if as_json:
        print_json({"error": error.to_document()})
        return
    label = "cloche: "
    if sys.stderr.isatty():
        label = f"{_RED}{label}{_RESET}"
    sys.stderr.write(f"{label}{error.message}\n")


def print_json(document: Any) -> None:
    """Print one JSON object on one line."""
    import json  # noqa: PLC0415 - only where it is used

    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class ImageProgress:
    """Shows a bar on stderr while modules are compiled and images warmed (an image `Progress`).

    Neither the compiler nor the guest tells how far it is, so the bar follows the expected time and
    waits just before the end.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stop = threading.Event()

    def __call__(self, stage: ProgressStage, name: str, done: bool) -> None:
        """Begin or end a bar; see `engine.adapters.images.Progress`."""
        if done:
            self._finish()
        else:
            self._begin(stage, name)

    def _begin(self, stage: ProgressStage, name: str) -> None:
        from rich.console import Console  # noqa: PLC0415 - only when something is made
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        words = "compiling" if stage == "compile" else "warming"
        console = Console(stderr=True)
        if not console.is_terminal:
            console.print(f"cloche: {words} {name} (once per machine) …", highlight=False)
        self._progress = Progress(
            TextColumn(f"{words} {name} (once per machine)"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._progress.start()
        self._task = self._progress.add_task(name, total=1.0)
        self._stop.clear()
        threading.Thread(
            target=self._advance, args=(_EXPECTED_S[stage],), name="cloche-progress", daemon=True
        ).start()

    def _advance(self, expected_s: float) -> None:
        started = time.monotonic()
        while not self._stop.wait(_REFRESH_S):
            share = min((time.monotonic() - started) / expected_s, 0.98)
            if self._progress is not None and self._task is not None:
                self._progress.update(self._task, completed=share)

    def _finish(self) -> None:
        self._stop.set()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=1.0)
            self._progress.stop()
        self._progress = None


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout."""
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415

    grid = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    Console().print(grid)
