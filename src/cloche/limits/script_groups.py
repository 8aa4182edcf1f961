"""The limits of scripts: programs in a model's message, the tools they call, who approves.

The defaults are those of seed 002; where its documents disagree, the reason stands at the limit.
"""

from __future__ import annotations

from cloche.limits.fields import KIB, MIB, Group, limit

DAY_MS = 86_400_000


class ScriptsLimits(Group):
    """Programs in a model's message."""

    message_limit_bytes: int = limit(
        4 * MIB, "bytes", KIB, 64 * MIB, label="Message", description="Text that is searched"
    )
    block_count_max: int = limit(
        16, "count", 1, 1000, label="Scripts", description="Scripts of one message"
    )
    source_limit_bytes: int = limit(
        20 * KIB, "bytes", 1, MIB, label="Source", description="Size of one script"
    )
    timeout_ms: int = limit(
        30_000,
        "ms",
        1,
        DAY_MS,
        label="Time",
        description="Active time of one script; waiting for people does not count",
    )
    memory_limit_bytes: int = limit(
        96 * MIB, "bytes", 16 * MIB, 4096 * MIB, label="Memory", description="Memory of one script"
    )
    call_count_max: int = limit(
        32, "count", 0, 10_000, label="Tool Calls", description="Tool calls of one script"
    )
    call_concurrency_max: int = limit(
        4,
        "count",
        1,
        32,
        label="Calls at Once",
        description="Tool calls of one script that run at the same time; more are queued",
    )
    tool_timeout_ms: int = limit(
        30_000, "ms", 1, DAY_MS, label="Tool Time", description="Time of one call of a tool"
    )
    args_limit_bytes: int = limit(
        256 * KIB, "bytes", 64, 64 * MIB, label="Arguments", description="Arguments of one call"
    )
    result_limit_bytes: int = limit(
        256 * KIB, "bytes", 64, 64 * MIB, label="Tool Result", description="Result of one call"
    )
    return_limit_bytes: int = limit(
        128 * KIB, "bytes", 64, 64 * MIB, label="Return", description="What a script returns"
    )
    return_depth_max: int = limit(
        8, "count", 1, 64, label="Return Depth", description="Levels of what a script returns"
    )
    output_limit_bytes: int = limit(
        256 * KIB, "bytes", 0, 64 * MIB, label="Console", description="What a script prints"
    )
    console_count_max: int = limit(
        200, "count", 0, 100_000, label="Console Events", description="Console lines of one script"
    )
    console_rate_max: int = limit(
        20, "count", 0, 100_000, label="Console Rate", description="Console lines in one second"
    )
    progress_count_max: int = limit(
        50, "count", 0, 10_000, label="Progress", description="Progress messages of one script"
    )
    progress_interval_ms: int = limit(
        500, "ms", 0, 60_000, label="Progress Pause", description="Time between two of them"
    )
    progress_limit_bytes: int = limit(
        1000, "bytes", 1, 64 * KIB, label="Progress Text", description="Size of one of them"
    )
    grace_ms: int = limit(
        250,
        "ms",
        0,
        60_000,
        label="Grace",
        description="Time that calls nobody awaited have to stop when the script ends",
    )
    kept_run_count_max: int = limit(
        10_000,
        "count",
        0,
        10_000_000,
        label="Kept Runs",
        description="Ended runs of scripts that pruning leaves",
    )
    kept_run_ms: int = limit(
        30 * DAY_MS,
        "ms",
        0,
        3650 * DAY_MS,
        label="Kept Time",
        description="Age of ended runs of scripts that pruning leaves",
    )
    tool_count_max: int = limit(
        2000, "count", 1, 100_000, label="Tools", description="Tools of one tool set"
    )
    rule_count_max: int = limit(
        10_000, "count", 1, 1_000_000, label="Rules", description="Rules of one approval policy"
    )
    approval_expires_ms: int = limit(
        DAY_MS,
        "ms",
        1,
        30 * DAY_MS,
        label="Approval",
        description="Time that people have to decide, unless a rule says otherwise",
    )
    approval_count_max: int = limit(
        1000,
        "count",
        1,
        1_000_000,
        label="Approvals",
        description="Approvals that are open at once",
    )
    shown_text_limit_bytes: int = limit(
        500,
        "bytes",
        16,
        64 * KIB,
        label="Shown Text",
        description="Size of one text of the arguments that people see when they decide",
    )
    shown_count_max: int = limit(
        10,
        "count",
        1,
        10_000,
        label="Shown Items",
        description="Items of one list of the arguments that people see when they decide",
    )
