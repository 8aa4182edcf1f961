"""A program with worker processes, for the tests: prints its address when all of them listen."""

from __future__ import annotations

import os
import sys

from cloche.limits import Limits
from cloche.limits.web_groups import WebLimits
from cloche.web.adapters.workers import Supervisor
from cloche.web.app import App

app = App()


@app.get("/")
def home() -> dict[str, int]:
    """Tell which process answers."""
    return {"process": os.getpid()}


@app.get("/end")
def end() -> None:
    """End the process in the middle of a request."""
    os._exit(9)


@app.get("/slow")
async def slow() -> str:
    """Answer after the stop was told."""
    import asyncio

    os.write(1, b"slow\n")
    await asyncio.sleep(0.2)
    return "done"


if "--broken" in sys.argv:

    @app.on_start
    async def start(state):
        """Fail."""
        raise ValueError("no database")


def started(server):
    """Say where, and who."""
    os.write(1, f"{server.address} {os.getpid()}\n".encode())


if __name__ == "__main__":
    # A busy machine takes its time to start a process, and one that fails late is started again.
    restart_ms = 500 if "--broken" in sys.argv else 10
    web = WebLimits(worker_restart_ms=restart_ms, drain_timeout_ms=60_000)
    supervisor = Supervisor(
        app, sys.argv[1], worker_count=2, limits=Limits(web=web), on_start=started
    )
    raise SystemExit(supervisor.run())
