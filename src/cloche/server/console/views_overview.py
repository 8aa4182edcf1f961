"""The first page: what happened in the last hour; and what is no page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.server.console import charts
from cloche.server.console.console import Route
from cloche.server.console.pages import HOME, go
from cloche.server.guard import key_of
from cloche.server.keys import DEFAULT_TENANT
from cloche.server.pages import PageRequest
from cloche.web.errors import NotFoundError
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.server.console.console import Console
    from cloche.server.console.memory import Used
    from cloche.server.documents import RunDocument

RUN_COUNT_MAX: Final = 500  # the newest ones that the charts are made of
_RECENT: Final = 8
_NS_PER_MS: Final = 1_000_000
_FAILED: Final = frozenset({"failed", "interrupted"})
_OPEN: Final = frozenset({"queued", "running", "suspended"})


class OverviewViews:
    """The page at `/console`, and every path below that nothing else has."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return [
            Route(method="GET", path="", handler=self.show),
            Route(method="GET", path="/", handler=self.go_home),
            Route(method="GET", path="/*rest", handler=self.show_nothing),
        ]

    async def go_home(self, request: Request) -> Response:
        """Lead from `/console/` to this page."""
        return go(request, HOME)

    async def show_nothing(self, request: Request) -> Response:
        """Say that there is no such page, to who has mistyped one."""
        raise NotFoundError(path=request.path)

    async def show(self, request: Request) -> Response:
        """Show the last hour as charts, and the newest runs."""
        key, context = key_of(request), self._console.context
        runs: list[RunDocument] = []
        if key.may("run"):
            wanted = PageRequest(limit=RUN_COUNT_MAX)
            runs = await context.call(
                lambda: [context.runs.current(row) for row in context.runs.page(key.tenant, wanted)]
            )
        now_ms = context.host.now_ns() // _NS_PER_MS
        reasons = await context.call(context.reasons)
        is_operator = key.may("admin") and key.tenant == DEFAULT_TENANT
        used = await context.call(self._console.memory.take) if is_operator else None
        return self._console.pages.page(
            request,
            "overview",
            runs=runs[:_RECENT],
            open_count=sum(run.status in _OPEN for run in runs),
            is_cut=len(runs) > RUN_COUNT_MAX,
            run_count_max=RUN_COUNT_MAX,
            reasons=reasons,
            version=context.version,
            used=used,
            **({} if used is None else _memory(self._console.memory.hour())),
            **_numbers(charts.minutes_of(map(_sample, runs), now_ms)),
        )


def _sample(run: RunDocument) -> charts.Sample:
    return charts.Sample(
        created_ms=run.created_ms,
        duration_ms=duration_of(run),
        failed=run.status in _FAILED,
    )


def duration_of(run: RunDocument) -> int | None:
    """Return how long a run took with its waiting, None when it has not ended."""
    return None if run.ended_ms is None else max(0, run.ended_ms - run.created_ms)


def _memory(hour: list[Used | None]) -> dict[str, Any]:
    totals = [None if used is None else used.server_bytes + used.workers_bytes for used in hour]
    servers = [None if used is None else used.server_bytes for used in hour]
    most = max((total for total in totals if total is not None), default=0)
    return {
        "memory_most": most,
        "memory_line": charts.line(totals, most),
        "server_line": charts.line(servers, most),
    }


def _numbers(minutes: list[charts.Minute]) -> dict[str, Any]:
    counts = [each.count for each in minutes]
    failures = [each.failed for each in minutes]
    slowest = max((each.slow_ms or 0 for each in minutes), default=0)
    middles = sorted(each.middle_ms for each in minutes if each.middle_ms is not None)
    return {
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "run_bars": charts.bars(counts),
        "run_count": sum(counts),
        "run_most": max(counts),
        "failure_bars": charts.bars(failures),
        "failure_count": sum(failures),
        "failure_most": max(failures),
        "middle_line": charts.line([each.middle_ms for each in minutes], slowest),
        "slow_line": charts.line([each.slow_ms for each in minutes], slowest),
        "slowest_ms": slowest,
        "middle_ms": charts.quantile(middles, 0.5),
    }
