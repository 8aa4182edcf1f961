"""Measures what docs/performance.md promises: medians, with peers in the same run.

make bench                       everything, a table
python bench/run.py --json       for machines
python bench/run.py --quick      fewer repetitions
"""

from __future__ import annotations

import argparse
import compileall
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

import cloche
from cloche.engine.abi import StartInput, encode
from cloche.engine.adapters.instance import Instance, deadline_after
from cloche.engine.adapters.machine import Machine
from cloche.engine.adapters.pool import Pool
from cloche.exec.adapters.effects import CancelToken, Effects
from cloche.exec.adapters.tools import ToolHandler
from cloche.exec.api import default_runner
from cloche.gate.entries import RunInputs
from cloche.gate.gate import Gate
from cloche.gate.policy import Policy
from cloche.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.engine.adapters.images import Image
    from cloche.exec.adapters.runner import Runner

LIMITS = Limits()
FIB_JS = "const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2); fib(27);"
FIB_PYTHON = "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(27)\n"


def median_ms(function: Callable[[], object], count: int) -> float:
    """Return the median time of a call in milliseconds, after a few that do not count."""
    for _ in range(min(5, count)):
        function()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def start(language: str, code: str, *, persist: bool = False) -> bytes:
    name = "main.py" if language == "python" else "main.js"
    return encode(
        StartInput(
            language=language,
            filename=name,
            code=code,
            argv=[name],
            env={},
            cwd="/",
            seed=1,
            now_ns=str(10**18),
            path=["/"],
            persist=persist,
        )
    )


def machine(effects: object = None) -> Machine:
    return Machine(LIMITS, now_ns=10**18, seed=1, sink=lambda *_: None, effects=effects)


def turn(instance: Instance, body: bytes) -> None:
    outcome = instance.turn(body, deadline_ns=deadline_after(60 * 10**9))
    if getattr(outcome, "state", "") != "done":
        raise SystemExit(f"a benchmark program failed: {outcome}")


def cold(runner: Runner, image_name: str, code: str, count: int) -> float:
    image = runner.images.get(image_name)
    body = start(image.language, code)

    def once() -> None:
        instance = Instance(image, machine())
        turn(instance, body)
        instance.close()

    return median_ms(once, count)


def pooled(runner: Runner, image_name: str, code: str, count: int) -> float:
    """Time a run from a ready instance; making it ready is outside the measured time."""
    image = runner.images.get(image_name)
    body = start(image.language, code)
    pool = Pool(2)
    times = []
    for _ in range(count + 1):
        instance = pool.take(image)
        started = time.perf_counter()
        instance.attach(machine())
        turn(instance, body)
        times.append(time.perf_counter() - started)
        pool.give_back(instance)
        pool.settle()
    pool.close()
    return statistics.median(times[1:]) * 1000


def warm(runner: Runner, image_name: str, count: int) -> float:
    instance = Instance(runner.images.get(image_name), machine())
    language = instance.image.language
    turn(instance, start(language, "1 + 1", persist=True))
    body = start(language, "1 + 1", persist=True)
    return median_ms(lambda: turn(instance, body), count) * 1000


def effect_us(runner: Runner, image_name: str, count: int) -> float:
    """Guest to host to guest: policy checked, not journaled, the handler adds nothing."""
    image = runner.images.get(image_name)
    loops = 2000
    if image.language == "python":
        code = f"for _ in range({loops}): tools.echo(x=1)"
    else:
        code = f"for (let i = 0; i < {loops}; i++) tools.$sync('echo', {{ x: 1 }});"
    body = start(image.language, code)
    times = []
    for _ in range(count):
        subject = machine()
        subject.effects = effects(image, subject)
        instance = Instance(image, subject)
        started = time.perf_counter()
        turn(instance, body)
        times.append((time.perf_counter() - started) / loops)
        instance.close()
    return statistics.median(times) * 1e6


def effects(image: Image, subject: Machine) -> Effects:
    """Answer the tool `echo`: nothing is recorded."""
    gate = Gate(
        Policy.allow(tool=["echo"]),
        LIMITS.replace({"gate": {"effect_count_max": 10**9}}),
        record=False,
    )
    gate.started(RunInputs(language=image.language, image_id=image.id, filename="", code=b""))
    return Effects(
        gate,
        {"tool": ToolHandler({"echo": lambda x: x})},
        limits=LIMITS,
        clock=subject.clock,
        sink=None,
        run_id="",
        deadline_ns=1 << 62,
        cancelled=CancelToken().cancelled.__bool__,
    )


def private_kib(runner: Runner, image_name: str) -> float:
    """Return what one idle instance adds to the private memory of the process, in MB."""
    image = runner.images.get(image_name)
    body = start(image.language, "print(1)")

    def private() -> int:
        text = Path("/proc/self/smaps_rollup").read_text()
        return sum(
            int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty")
        )

    before = private()
    kept = []
    for _ in range(50):
        instance = Instance(image, machine())
        turn(instance, body)
        kept.append(instance)
    return (private() - before) / len(kept) / 1024


def command_ms(command: list[str], count: int) -> float:
    # As installed: with the bytecode that an installer, or the first start, leaves.
    compileall.compile_dir(Path(cloche.__file__).parent, quiet=1)
    return median_ms(lambda: subprocess.run(command, check=True, capture_output=True), count)


def native_fib_ms(count: int) -> float:
    scope: dict[str, object] = {}
    return median_ms(lambda: exec(FIB_PYTHON, scope), count)


def peers(count: int) -> list[tuple[str, str, float]]:
    """Measure what else is installed; a peer that is missing is left out."""
    rows = []
    try:
        import quickjs_rs

        def run_quickjs_rs() -> None:
            with quickjs_rs.Runtime() as runtime, runtime.new_context() as context:
                context.eval("1 + 1")

        rows.append(("JavaScript: fresh to result", "quickjs-rs", median_ms(run_quickjs_rs, count)))
    except (ImportError, AttributeError, TypeError) as error:
        print(f"quickjs-rs is left out: {error}", file=sys.stderr)
    try:
        import quickjs

        rows.append(
            (
                "JavaScript: fresh to result (no sandbox)",
                "quickjs-ng",
                median_ms(lambda: quickjs.Context().eval("1 + 1"), count),
            )
        )
    except ImportError:
        pass
    try:
        import pydantic_monty
    except ImportError:
        pass
    else:
        with pydantic_monty.Monty() as pool:

            def run_monty() -> None:
                with pool.checkout() as session:
                    session.feed_run("1 + 1")

            what = "Python: fresh session to result (subset of Python, ready workers)"
            rows.append((what, "pydantic-monty", median_ms(run_monty, count)))
    python = [sys.executable, "-I", "-c", "print(1)"]
    rows.append(("Python: fresh to result (no sandbox)", "python3 -I -c", command_ms(python, 10)))
    node = shutil.which("node")
    if node:
        rows.append(
            (
                "JavaScript: fresh to result (no sandbox)",
                "node -e",
                command_ms([node, "-e", "console.log(1)"], 10),
            )
        )
        clock = "process.hrtime.bigint()"
        code = f"const t={clock};{FIB_JS}console.log(Number({clock}-t)/1e6)"
        times = [
            float(
                subprocess.run(
                    [node, "--jitless", "-e", code], check=True, capture_output=True
                ).stdout
            )
            for _ in range(5)
        ]
        rows.append(("fib(27)", "node --jitless", statistics.median(times)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    scale = 1 if options.quick else 10
    runner = default_runner()
    command = str(Path(sys.executable).with_name("cloche"))
    rows: list[tuple[str, float, str, float]] = [
        (
            "JavaScript: fresh instance to result",
            cold(runner, "javascript", "print(1 + 1)", 20 * scale),
            "ms",
            0.25,
        ),
        (
            "Python: fresh instance to result",
            cold(runner, "python", "print(1 + 1)", 20 * scale),
            "ms",
            0.9,
        ),
        (
            "Python with numpy: the same",
            cold(
                runner, "python+numpy", "import numpy as np; print(np.arange(5).sum())", 10 * scale
            ),
            "ms",
            1.5,
        ),
        (
            "JavaScript: from the ready pool",
            pooled(runner, "javascript", "print(1 + 1)", 10 * scale),
            "ms",
            0.2,
        ),
        (
            "Python: from the ready pool",
            pooled(runner, "python", "print(1 + 1)", 10 * scale),
            "ms",
            0.2,
        ),
        ("JavaScript: effect round trip", effect_us(runner, "javascript", scale), "us", 12),
        ("Python: effect round trip", effect_us(runner, "python", scale), "us", 15),
        ("JavaScript: warm turn", warm(runner, "javascript", 100 * scale), "us", 15),
        ("Python: warm turn", warm(runner, "python", 100 * scale), "us", 90),
        (
            "cloche run -c 'print(1)', whole process",
            command_ms([command, "run", "-c", "print(1)"], 2 * scale),
            "ms",
            220,
        ),
        ("JavaScript: private memory, idle", private_kib(runner, "javascript"), "MB", 0.3),
        ("Python: private memory, idle", private_kib(runner, "python"), "MB", 1.0),
        ("JavaScript: fib(27)", cold(runner, "javascript", FIB_JS, scale), "ms", 40),
        (
            "Python: fib(27)",
            cold(runner, "python", FIB_PYTHON, scale),
            "ms",
            2.5 * native_fib_ms(5),
        ),
    ]
    others = peers(20)
    if options.json:
        print(json.dumps({"cloche": rows, "peers": others}))
        return
    table = Table(title="cloche", title_justify="left")
    for column in ("what", "median", "at most", ""):
        table.add_column(column)
    for what, value, unit, most in rows:
        table.add_row(
            what, f"{value:.3g} {unit}", f"{most:.3g} {unit}", "ok" if value <= most else "over"
        )
    Console().print(table)
    table = Table(title="peers, in the same run", title_justify="left")
    for column in ("what", "who", "median"):
        table.add_column(column)
    for what, who, value in others:
        table.add_row(what, who, f"{value:.3g} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
