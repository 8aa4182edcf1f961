"""`cloche doctor`: what is installed, compiled and cached, and what the kernel offers."""

from __future__ import annotations

from typing import Annotated

import typer

from cloche.cli.output import print_json, table

_MARKS = {True: "ok", False: "missing"}


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what works here. Exit code 1 when something that runs need is missing."""
    from cloche.engine.adapters.doctor import examine  # noqa: PLC0415 - keeps --help fast
    from cloche.limits.adapters.settings import guest_modules, load_limits  # noqa: PLC0415
    from cloche.server.adapters.worker_checks import examine_workers  # noqa: PLC0415 - as above

    limits = load_limits()
    checks = [*examine(limits, guest_modules()), *examine_workers(limits)]
    healthy = all(check.ok for check in checks if check.required)
    if as_json:
        print_json(
            {
                "healthy": healthy,
                "checks": [
                    {
                        "group": check.group,
                        "name": check.name,
                        "ok": check.ok,
                        "required": check.required,
                        "detail": check.detail,
                    }
                    for check in checks
                ],
            }
        )
    else:
        table(
            "cloche doctor",
            ["group", "check", "state", "detail"],
            [
                [
                    check.group,
                    check.name,
                    _MARKS[check.ok] if check.required or check.ok else "not available",
                    check.detail,
                ]
                for check in checks
            ],
        )
    raise typer.Exit(0 if healthy else 1)
