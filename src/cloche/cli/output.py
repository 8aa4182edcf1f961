"""What commands print: errors, JSON, and progress on work that takes seconds."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.progress import Progress, TaskID

    from cloche.engine.adapters.images import ProgressStage
    from cloche.errors import ClocheError

# Typical seconds on two cores; the bar only needs to be about right.
_EXPECTED_S: Final = {"compile": 50.0, "warm": 3.0}
_REFRESH_S: Final = 0.2
_RED: Final = "\x1b[31m"
_RESET: Final = "\x1b[0m"
_NARROW: Final = 8  # characters that a folded column of a table has at least, if it needs them
_FRAME: Final = 3  # of a column: spaces and its line


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


def table(
    title: str, columns: list[str], rows: list[list[str]], *, whole: Collection[str] = ()
) -> None:
    """Print a table on stdout.

    Args:
        title: above it.
        columns: their headings.
        rows: a text for each column.
        whole: columns of what people copy: never folded. Where there is no room beside them, other
            columns are left out, the last one first, and it is said which.
    """
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    kept = _fitting(columns, widths, whole, console.width)
    grid = Table(title=title, title_justify="left", header_style="bold")
    for index in kept:
        is_whole = columns[index] in whole
        least = widths[index] if is_whole else None
        grid.add_column(columns[index], overflow="fold", no_wrap=is_whole, min_width=least)
    for row in rows:
        grid.add_row(*(row[index] for index in kept))
    left_out = [name for index, name in enumerate(columns) if index not in kept]
    if left_out:
        grid.caption = f"Too narrow for: {', '.join(left_out)}. --json shows all."
        grid.caption_justify = "left"
    console.print(grid)


def _fitting(columns: list[str], widths: list[int], whole: Collection[str], room: int) -> list[int]:
    """Return the columns that are shown, by their places."""
    kept = list(range(len(columns)))
    for last in reversed(kept if whole else []):
        least = (w if columns[i] in whole else min(w, _NARROW) for i, w in enumerate(widths))
        needed = {index: width + _FRAME for index, width in enumerate(least)}
        if 1 + sum(needed[index] for index in kept) <= room:
            break
        if columns[last] not in whole:
            kept.remove(last)
    return kept
