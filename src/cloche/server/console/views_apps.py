"""Apps: what answers, its versions, its environment, its log, its recorded requests.

Everything is what the API has below `/v1/apps`, of the tenant's own apps. The value of a variable
is taken from a form and never given back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cloche.apps.errors import RecordingUnknownError
from cloche.apps.kinds import LEVELS
from cloche.apps.routing import AppName
from cloche.gate.errors import DivergenceError
from cloche.server.console.console import Route, field, number, section
from cloche.server.console.effects import BAR_COUNT_MAX, bars_of, effects_of
from cloche.server.console.pages import EFFECT_SHOWN, HOME, go, part
from cloche.server.console.shown import Room, cut, time_text
from cloche.server.context import text
from cloche.server.errors import InvalidFieldError
from cloche.server.guard import key_of
from cloche.server.pages import sliced
from cloche.server.routes_apps import AppRoutes, deployer_of
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.apps.recordings import RecordedRequest
    from cloche.apps.registry import App
    from cloche.apps.serving import AppServer
    from cloche.server.app_documents import LogDocument
    from cloche.server.console.console import Console
    from cloche.server.console.effects import Effect

T = TypeVar("T")
_ACTIONS_SHOWN: Final = 20
_REQUESTS_SHOWN: Final = 20
_PREVIEW_SHOWN: Final = 10
_LINES_SHOWN: Final = 200
_LINE_SHOWN: Final = 1_000  # characters
_TEXT_SHOWN: Final = 200
_LOG_ROOM_BYTES: Final = 60_000
_TABLE_ROOM_BYTES: Final = 8_000
_VARIABLES_SHOWN: Final = 60
_SHARES: Final = range(1, 100)
_ATTACHMENT: Final = (b"content-disposition", b"attachment")


class AppViews:
    """The pages below `/console/apps`.

    Args:
        console: the parts.
        server: serves the apps.
    """

    def __init__(self, console: Console, server: AppServer) -> None:
        self._console = console
        self._context = console.context
        self._server = server
        self._apps = server.apps
        self._api = AppRoutes(console.context, server)

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "app",
            "/apps",
            ("GET", "", self.show_all),
            ("GET", "/:name", self.show),
            ("POST", "/:name/rollback", self.roll_back),
            ("POST", "/:name/canary", self.share),
            ("POST", "/:name/promote", self.promote),
            ("POST", "/:name/stop", self.stop),
            ("POST", "/:name/start", self.start),
            ("POST", "/:name/env", self.set_variable),
            ("POST", "/:name/env/remove", self.remove_variable),
            ("POST", "/:name/remove", self.remove),
            ("GET", "/:name/logs", self.show_logs),
            ("GET", "/:name/tail", self.tail),
            ("GET", "/:name/requests", self.show_requests),
            ("GET", "/:name/requests/:id", self.show_request),
            ("GET", "/:name/requests/:id/effects/:sequence", self.show_effect),
            ("GET", "/:name/requests/:id/journal", self.journal),
            ("POST", "/:name/requests/:id/replay", self.replay),
        )

    # --- looking ---

    async def show_all(self, request: Request) -> Response:
        """Show the apps in the order of their names."""
        tenant, wanted = key_of(request).tenant, self._console.wanted(request)
        found = await self._api.list_apps(request)
        page = sliced(found.items, wanted, lambda app: app.name, kind="app")

        def numbered() -> list[tuple[Any, dict[str, int]]]:
            return [
                (app, self._numbers(AppName(tenant=tenant, name=app.name))) for app in page.items
            ]

        rows = await self._context.call(numbered)
        return self._console.pages.page(
            request, "apps", apps=rows, count=len(found.items), next=page.next
        )

    def _numbers(self, name: AppName) -> dict[str, int]:
        """Return the numbers that people call versions by."""
        return {each.id: each.number for each in self._apps.registry.versions(name)}

    async def show(self, request: Request) -> Response:
        """Show an app: what answers, versions, environment, newest lines and requests."""
        app = await self._api.get_app(request)
        versions = (await self._api.list_versions(request)).items
        actions = (await self._api.list_actions(request)).items
        name = _name(request)
        lines = await self._context.call(lambda: self._apps.logs.read(name, limit=_PREVIEW_SHOWN))
        requests = await self._context.call(
            lambda: self._apps.recordings.page(name, limit=_PREVIEW_SHOWN)
        )
        return self._console.pages.page(
            request,
            "app",
            app=app,
            base=_place(request),
            variables=_fitting(app.env[:_VARIABLES_SHOWN], lambda name: name * 3),
            versions=versions,
            numbers={each.id: each.number for each in versions},
            actions=_fitting(actions[:_ACTIONS_SHOWN], lambda one: one.who + one.detail[:500]),
            action_count=len(actions),
            hosts=cut(", ".join(app.hosts), _LINE_SHOWN),
            lines=_shown(lines, _TABLE_ROOM_BYTES),
            requests=requests,
        )

    # --- what answers ---

    async def _change(self, request: Request, says: str, change: Any) -> Response:
        def work() -> App:
            app: App = change(_name(request), key_of(request).shown)
            self._server.refresh()
            return app

        await self._context.call(work)
        return go(request, _place(request), says)

    async def roll_back(self, request: Request) -> Response:
        """Let the version before answer, or the one that is named; a canary goes."""
        to = field(await request.form(), "to")
        says = f"Version {to[:12]} answers." if to else "What answered before answers again."
        return await self._change(
            request, says, lambda name, who: self._apps.rollback(name, who=who, to=to)
        )

    async def share(self, request: Request) -> Response:
        """Let a version that is kept answer a share of the clients."""
        form = await request.form()
        wanted, share = field(form, "version"), number(form, "share")
        if share not in _SHARES:
            raise InvalidFieldError(field="share", problem="it is 1 to 99")
        deployer = deployer_of(request)

        def change(name: AppName, who: str) -> App:
            registry = self._apps.registry
            version = registry.version(name, wanted)
            bundle = registry.bundle(name, version.id)
            return self._apps.deploy(name, bundle, who=who, canary_share=share, deployer=deployer)[
                1
            ]

        return await self._change(request, f"It answers {share} of 100 clients.", change)

    async def promote(self, request: Request) -> Response:
        """Let the canary answer everybody."""
        await self._api.promote_canary(request)
        return go(request, _place(request), "The canary answers everybody.")

    async def stop(self, request: Request) -> Response:
        """Let an app answer nothing."""
        await self._api.stop_app(request)
        return go(request, _place(request), "The app is stopped.")

    async def start(self, request: Request) -> Response:
        """Let a stopped app answer again."""
        await self._api.start_app(request)
        return go(request, _place(request), "The app answers again.")

    async def remove(self, request: Request) -> Response:
        """Remove an app with everything that it has kept."""
        await self._api.remove_app(request)
        return go(request, f"{HOME}/apps", f"{request.params['name']} was removed.")

    # --- environment ---

    async def set_variable(self, request: Request) -> Response:
        """Give a variable a value."""
        form = await request.form()
        variable, value = field(form, "variable"), form.get("value") or ""
        if not variable:
            raise InvalidFieldError(field="variable", problem="is empty")
        says = f"{cut(variable, _TEXT_SHOWN)} has a new value."
        return await self._change(
            request, says, lambda name, who: self._apps.set_env(name, {variable: value}, who=who)
        )

    async def remove_variable(self, request: Request) -> Response:
        """Remove a variable."""
        variable = field(await request.form(), "variable")
        says = f"{cut(variable, _TEXT_SHOWN)} was removed."
        return await self._change(
            request, says, lambda name, who: self._apps.set_env(name, {variable: None}, who=who)
        )

    # --- log ---

    async def show_logs(self, request: Request) -> Response:
        """Show the newest lines; what is written from now on follows by itself."""
        name, level, wanted = _name(request), text(request, "level", "debug"), _wanted(request)
        if level not in LEVELS:
            raise InvalidFieldError(field="level", problem=f"is one of {', '.join(LEVELS)}")

        def found() -> Any:
            self._apps.registry.app(name)
            least = next(each for each in LEVELS if each == level)
            return self._apps.logs.read(name, level=least, request=wanted, limit=_LINES_SHOWN)

        lines = await self._context.call(found)
        return self._console.pages.page(
            request,
            "app_logs",
            app=name.name,
            base=_place(request),
            level=level,
            levels=LEVELS,
            wanted=wanted,
            lines=_shown(lines, _LOG_ROOM_BYTES),
        )

    async def tail(self, request: Request) -> Response:
        """Send lines as they are written, as the API does."""
        return await self._api.app_logs(request)

    # --- recorded requests ---

    async def show_requests(self, request: Request) -> Response:
        """Show the recorded requests, newest first."""
        name = _name(request)

        def found() -> list[RecordedRequest]:
            self._apps.registry.app(name)
            return self._apps.recordings.page(name, limit=_REQUESTS_SHOWN)

        return self._console.pages.page(
            request,
            "app_requests",
            app=name.name,
            base=_place(request),
            requests=await self._context.call(found),
            most=_REQUESTS_SHOWN,
        )

    async def _recorded(self, request: Request) -> tuple[RecordedRequest, list[Effect]]:
        name, request_id = _name(request), request.params["id"]

        def found() -> tuple[RecordedRequest, list[Effect]]:
            one = self._apps.recordings.find(request_id)
            if one.app != str(name):
                raise RecordingUnknownError(id=request_id)
            return one, effects_of(self._context.store, one.id, self._context.limits)

        return await self._context.call(found)

    async def show_request(self, request: Request) -> Response:
        """Show a recorded request: what was asked, what came, what it asked of the world."""
        return await self._request_page(request)

    async def _request_page(
        self, request: Request, *, status: int = 200, **replayed: Any
    ) -> Response:
        one, effects = await self._recorded(request)
        numbers = await self._context.call(lambda: self._numbers(_name(request)))
        values: dict[str, Any] = {"same": None, "divergence": None, **replayed}
        return self._console.pages.page(
            request,
            "app_request",
            status=status,
            app=request.params["name"],
            base=_place(request),
            one=one,
            version=numbers.get(one.version),
            bars=bars_of(effects),
            effect_count=len(effects),
            bar_count_max=BAR_COUNT_MAX,
            most=EFFECT_SHOWN,
            **values,
        )

    async def show_effect(self, request: Request) -> Response:
        """Show an effect of a recorded request."""
        one, effects = await self._recorded(request)
        return self._console.pages.effect(
            request,
            effects,
            of=f"request {one.id[:12]}",
            back=f"{_place(request)}/requests/{part(one.id)}",
        )

    async def journal(self, request: Request) -> Response:
        """Send the journal of a recorded request, as a file."""
        answer = await self._api.request_journal(request)
        return answer.with_fields((_ATTACHMENT,))

    async def replay(self, request: Request) -> Response:
        """Run a recorded request again; the page says whether it came to the same bytes."""
        try:
            done = await self._api.replay_app_request(request)
        except DivergenceError as divergence:
            return await self._request_page(request, status=409, divergence=divergence.fields)
        return await self._request_page(request, same=done)


def _name(request: Request) -> AppName:
    return AppName(tenant=key_of(request).tenant, name=request.params["name"])


def _place(request: Request) -> str:
    return f"{HOME}/apps/{part(request.params['name'])}"


def _wanted(request: Request) -> str:
    return text(request, "request").strip()


def _shown(lines: list[Any], room_bytes: int) -> list[dict[str, Any]]:
    """Return the newest lines that a page has room for, oldest first."""
    room, shown = Room(room_bytes), []
    for line in reversed(lines):
        one = _line(line)
        if not room.takes(one["message"], one["fields"], one["request"]):
            break
        shown.append(one)
    return shown[::-1]


def _line(line: LogDocument) -> dict[str, Any]:
    fields = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in line.fields.items()
    )
    return {
        "time": time_text(line.at_ms),
        "level": line.level,
        "message": cut(line.message, _LINE_SHOWN),
        "fields": cut(fields, _LINE_SHOWN),
        "request": line.request,
    }


def _fitting(items: list[T], text_of: Callable[[T], str]) -> list[T]:
    """Return the first items whose texts a page has room for."""
    room = Room(_TABLE_ROOM_BYTES)
    return [item for item in items if room.takes(text_of(item))]
