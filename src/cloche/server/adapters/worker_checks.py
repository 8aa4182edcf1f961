"""What holds a worker process on this machine: one is started and asked. For `cloche doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.engine.adapters.cache import default_root
from cloche.engine.adapters.doctor import Check
from cloche.limits.adapters.settings import guest_modules
from cloche.server.adapters.hardening import landlock_version
from cloche.server.adapters.processes import Processes
from cloche.server.errors import ServeError
from cloche.server.worker_frames import Start, limits_text

if TYPE_CHECKING:
    from cloche.limits import Limits

GROUP: Final = "worker"
_PROTECTIONS: Final = (
    ("parent_death", "a worker ends with its server"),
    ("rlimits", "no core dumps; memory, files and descriptors are limited"),
    ("no_new_privs", "nothing that a worker could run would give it rights"),
    ("landlock", "reads Python and compiled images alone, writes nothing, reaches no port"),
    ("seccomp", "no programs, processes, sockets, mounts, modules, keys, tracing, foreign signals"),
)


def examine_workers(limits: Limits) -> list[Check]:
    """Start a worker and return what holds it."""
    modules = guest_modules()
    start = Start(
        job=0,
        limits=limits_text(limits),
        cache=str(default_root()),
        javascript_path=modules.javascript_path,
        python_path=modules.python_path,
        images=[],
        run_count_max=limits.server.worker_count,
    )
    processes = Processes(limits, count=1, start=start, log=lambda _record: None)
    try:
        processes.start()
    except ServeError as error:
        return [Check(group=GROUP, name="starts", ok=False, detail=error.message)]
    try:
        active = processes.pick().protections
    finally:
        processes.stop()
    found = [Check(group=GROUP, name="starts", ok=True, detail="runs guests for cloche serve")]
    for name, detail in _PROTECTIONS:
        told = f"{detail} (version {landlock_version()})" if name == "landlock" else detail
        is_active = name in active
        found.append(
            Check(
                group=GROUP,
                name=name,
                ok=is_active,
                detail=told if is_active else "this kernel does not have it, or not for this",
            )
        )
    return found
