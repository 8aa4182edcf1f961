r"""Run code that an agent wrote in a WebAssembly sandbox where every effect passes one gate.

    import cloche

    result = cloche.run("print(6 * 7)", language="python")
    assert result.run.stdout == "42\n"

Everything public is reachable from here; modules are imported when a name is first used, so that
`import cloche` costs a millisecond.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cloche._version import __version__
from cloche.errors import ClocheError

if TYPE_CHECKING:
    from cloche.client.asynchronous import AsyncClient
    from cloche.client.synchronous import Client
    from cloche.egress.allowlist import NetPolicy
    from cloche.exec.api import events, replay, run, run_streaming
    from cloche.exec.async_session import AsyncSession
    from cloche.exec.errors import (
        CompilationFailedError,
        ExecError,
        InternalExecError,
        InvalidRunError,
        ResourceExceededError,
        RunCancelledError,
        RuntimeFailedError,
        SessionBusyError,
        SessionError,
        SessionNotFoundError,
        TimeoutExceededError,
        UnsupportedLanguageError,
    )
    from cloche.exec.mounts import Mount
    from cloche.exec.session import Session
    from cloche.exec.types import (
        Encoding,
        ExecEvent,
        ExecResult,
        Failed,
        File,
        Finished,
        StageResult,
        StderrChunk,
        StdoutChunk,
    )
    from cloche.gate.errors import DivergenceError
    from cloche.gate.policy import Policy
    from cloche.gate.ports import EffectFailure
    from cloche.limits import Limits
    from cloche.limits.adapters.settings import load_limits
    from cloche.script.harness import ScriptHarness
    from cloche.script.policy import ToolPolicy
    from cloche.script.tools import ToolContext, tool

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # running
    "run",
    "run_streaming",
    "events",
    "replay",
    # machines that live on
    "Session",
    "AsyncSession",
    # a server, with the same verbs
    "Client",
    "AsyncClient",
    # scripts with tools
    "ScriptHarness",
    "ToolContext",
    "ToolPolicy",
    "tool",
    # what goes in
    "Encoding",
    "File",
    "Limits",
    "Mount",
    "NetPolicy",
    "Policy",
    "load_limits",
    # what comes out
    "ExecEvent",
    "ExecResult",
    "Failed",
    "Finished",
    "StageResult",
    "StderrChunk",
    "StdoutChunk",
    # errors
    "ClocheError",
    "CompilationFailedError",
    "DivergenceError",
    "EffectFailure",
    "ExecError",
    "InternalExecError",
    "InvalidRunError",
    "ResourceExceededError",
    "RunCancelledError",
    "RuntimeFailedError",
    "SessionBusyError",
    "SessionError",
    "SessionNotFoundError",
    "TimeoutExceededError",
    "UnsupportedLanguageError",
    # the package
    "__version__",
]

_HOMES = {
    "cloche.client.asynchronous": ("AsyncClient",),
    "cloche.client.synchronous": ("Client",),
    "cloche.egress.allowlist": ("NetPolicy",),
    "cloche.exec.api": ("events", "replay", "run", "run_streaming"),
    "cloche.exec.async_session": ("AsyncSession",),
    "cloche.exec.session": ("Session",),
    "cloche.exec.mounts": ("Mount",),
    "cloche.exec.errors": tuple(name for name in __all__ if name.endswith("Error")),
    "cloche.exec.types": (
        *("Encoding", "File", "ExecEvent", "ExecResult", "Failed", "Finished"),
        *("StageResult", "StderrChunk", "StdoutChunk"),
    ),
    "cloche.gate.errors": ("DivergenceError",),
    "cloche.gate.policy": ("Policy",),
    "cloche.gate.ports": ("EffectFailure",),
    "cloche.limits": ("Limits",),
    "cloche.limits.adapters.settings": ("load_limits",),
    "cloche.script.harness": ("ScriptHarness",),
    "cloche.script.policy": ("ToolPolicy",),
    "cloche.script.tools": ("ToolContext", "tool"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'cloche' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
