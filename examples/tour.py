"""A first look: one real program in each language, what it printed, and what it left behind."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax

from cloche.exec.api import execute, make_request

HERE = Path(__file__).parent
PROGRAMS = ("primes.js", "inventory.ts", "report.py")


def word_count(text: str) -> int:
    """Count words, on the host: guests reach it as `tools.word_count`."""
    return len(text.split())


def main() -> None:
    """Run each program and show what happened."""
    console = Console()
    for name in PROGRAMS:
        code = (HERE / name).read_text(encoding="utf-8")
        tools = {"word_count": word_count}
        request = make_request(
            code, filename=name, tools=tools, seed=7, now_ns=1_767_225_600 * 10**9
        )
        execution = execute(request, tools=tools)
        console.rule(f"[bold]{name}[/] in {execution.image}")
        console.print(Syntax("\n".join(code.splitlines()[:12]) + "\n…", name.split(".")[1]))
        console.print(Panel(execution.result.run.stdout.rstrip() or "(nothing)", title="stdout"))
        if execution.result.run.stderr:
            console.print(Panel(execution.result.run.stderr.rstrip(), title="stderr"))
        files = ", ".join(f"{file.path} ({len(file.content)} B)" for file in execution.files)
        console.print(
            f"exit code {execution.exit_code}, {execution.result.time_ms} ms, "
            f"{(execution.result.memory_bytes or 0) >> 20} MiB of memory, "
            f"files: {files or 'none'}\njournal {execution.journal_hash}\n"
        )
        if execution.error is not None:
            raise SystemExit(f"{name} failed: {execution.error}")


if __name__ == "__main__":
    main()
