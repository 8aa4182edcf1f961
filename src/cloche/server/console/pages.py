"""Pages from the templates of this package, and what every page is told.

Invariants: every value is escaped; a page is made for one person and kept by nobody (`no-store`);
nothing of it comes from another place than this server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche.server.console.shown import FILTERS
from cloche.server.errors import UnknownObjectError
from cloche.web.adapters.templates import Templates
from cloche.web.response import redirect
from cloche.web.target import percent_encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.server.console.effects import Effect
    from cloche.server.keys import Key, Scope
    from cloche.web.request import Request
    from cloche.web.response import Response

HOME: Final = "/console"
EFFECT_SHOWN: Final = 7_000  # characters of what was asked, and of what came back
_FOLDER: Final = Path(__file__).parent
_NO_STORE: Final = (b"cache-control", b"no-store")
_FLASH_CHARACTERS: Final = 500  # a cookie has room for 4096 bytes
# Title, path, and the scope that its pages need; None for every key.
SECTIONS: Final[tuple[tuple[str, str, Scope | None], ...]] = (
    ("Overview", HOME, None),
    ("Runs", f"{HOME}/runs", "run"),
    ("Scripts", f"{HOME}/scripts", "run"),
    ("Sessions", f"{HOME}/sessions", "session"),
    ("Apps", f"{HOME}/apps", "app"),
    ("Approvals", f"{HOME}/approvals", "approve"),
    ("Egress", f"{HOME}/egress", "admin"),
    ("Secrets", f"{HOME}/secrets", "admin"),
    ("Limits", f"{HOME}/limits", "admin"),
    ("Keys", f"{HOME}/keys", "admin"),
    ("Tenants", f"{HOME}/tenants", "admin"),
    ("Webhooks", f"{HOME}/webhooks", "admin"),
    ("Audit", f"{HOME}/audit", "admin"),
)


class Pages:
    """The pages of the console. The templates are read when the first one is made.

    Args:
        hidden: titles of sections that this server has not.
    """

    def __init__(self, hidden: frozenset[str] = frozenset()) -> None:
        self._templates: Templates | None = None
        self._hidden = hidden

    def effect(
        self, request: Request, effects: Iterable[Effect], *, of: str, back: str
    ) -> Response:
        """Return the page of the effect that a request names by its `sequence`.

        Args:
            request: of the page.
            effects: of the run.
            of: what the run is called.
            back: its page.

        Raises:
            UnknownObjectError: there is no such effect.
        """
        wanted = request.params["sequence"]
        effect = next((each for each in effects if str(each.sequence) == wanted), None)
        if effect is None:
            raise UnknownObjectError(kind="effect", id=wanted)
        return self.page(request, "effect", of=of, back=back, effect=effect, most=EFFECT_SHOWN)

    def page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page as a response.

        Raises:
            TemplatesMissingError: jinja2 is not installed.
        """
        if self._templates is None:
            self._templates = Templates(_FOLDER / "templates", values={**FILTERS, "home": HOME})
        key = request.context.get("user")
        session = request.context.get("session", {})
        answer = self._templates.page(
            request,
            f"{name}.html",
            status=status,
            key=key,
            sections=sections_of(key, request.path, self._hidden),
            flash=session.pop("flash", None),
            csrf_token=request.context.get("csrf_token", ""),
            **values,
        )
        return answer.with_fields((_NO_STORE,))


def sections_of(
    key: Key | None, path: str, hidden: frozenset[str] = frozenset()
) -> list[tuple[str, str, bool]]:
    """Return title, path and whether a path is in it, of each section that a key may see."""
    if key is None:
        return []
    return [
        (title, place, path == place if place == HOME else path.startswith(place))
        for title, place, scope in SECTIONS
        if title not in hidden and (scope is None or key.may(scope))
    ]


def go(request: Request, path: str, says: str = "", *, failed: bool = False) -> Response:
    """Return a redirect to a page of the console, which says once what was done."""
    if says:
        text = says if len(says) <= _FLASH_CHARACTERS else says[: _FLASH_CHARACTERS - 1] + "…"
        request.context["session"]["flash"] = {"text": text, "failed": failed}
    return redirect(path).with_fields((_NO_STORE,))


def part(text: str) -> str:
    """Return a text as one part of a path."""
    return percent_encode(text)
