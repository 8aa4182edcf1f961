"""The page of all limits, `docs/limits.md`, made from what is declared. Pure."""

from __future__ import annotations

from typing import Final

from cloche.limits.fields import Specification, specifications
from cloche.limits.limits import GROUPS
from cloche.limits.quantity import format_quantity

DOCUMENT_PATH: Final = "docs/limits.md"
WRITE_COMMAND: Final = "python -m cloche.limits.adapters.document"

_HEAD: Final = f"""\
# Limits

Every queue, loop, size, depth and duration has a named limit. This page is made from the code: \
`{WRITE_COMMAND}` writes it. `cloche limits` prints what is in force here and where each value \
came from, `--json` the values, `--schema` labels, units and ranges.

## Where a value comes from

The last one wins:

1. the default in the tables below;
2. the machine, where a description says so;
3. `cloche.toml` in the working directory, or the file that `CLOCHE_CONFIG` or `--config` names;
4. the environment, old names: `EXEC_TIMEOUT_MS` is `guests.timeout_ms`, `EXEC_MEMORY_LIMIT_MB` \
is `guests.memory_limit_bytes` in MiB;
5. the environment: `CLOCHE_`, the group, `_`, the name, in upper case; an empty variable is not \
set;
6. the options of a run.

```toml
[limits.guests]
timeout_ms = "30s"
memory_limit_bytes = "512MiB"

[limits.gate]
effect_count_max = 100
```

    CLOCHE_GUESTS_TIMEOUT_MS=30s cloche run program.py

Text may have a unit. Sizes: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB, where kB is 1000 bytes and \
KiB 1024. Times: ms, s, min, h. `10_000` is 10000. Every value of every place is checked: a name \
that does not exist, a text that is no number and a number outside of the range are errors that \
name the value, its place and what is allowed. What is read-only is detected or estimated and \
cannot be set.

The machine: memory is the first that is known of the limit of cgroup v2, that of cgroup v1 (less \
than 2^50), `MemTotal`, 512 MiB. Cores are those that the process may use, or the quota of its \
cgroup if that is smaller. The scale factor is the number of cores up to 4, and half of those \
above.

`EXEC_JS_QUICKJS_PATH` and `EXEC_PYTHON_WASI_PATH` name guest modules to use instead of the \
packaged ones.
"""


def to_document() -> str:
    """Return the page as Markdown."""
    sections = [_HEAD]
    for name, group in GROUPS.items():
        rows = "\n".join(_row(spec) for spec in specifications(group))
        sections.append(
            f"## {name}\n\n{group.__doc__}\n\n"
            "| name | label | default | range | what it limits |\n|---|---|---|---|---|\n"
            f"{rows}\n"
        )
    return "\n".join(sections)


def format_range(spec: Specification) -> str:
    """Return the range of a limit as people read it."""
    if spec.minimum is None or spec.maximum is None:
        return "read-only"
    low, high = format_quantity(spec.minimum, spec.unit), format_quantity(spec.maximum, spec.unit)
    if low == high:
        return f"only {low}"
    if high.endswith(spec.of_unit):
        low = low.removesuffix(spec.of_unit)
    return f"{low} to {high}"


def _row(spec: Specification) -> str:
    default = format_quantity(spec.default, spec.unit)
    cells = (f"`{spec.name}`", spec.label, default, format_range(spec), spec.description)
    return f"| {' | '.join(cells)} |"
