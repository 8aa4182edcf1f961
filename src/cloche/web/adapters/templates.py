"""Pages from templates (jinja2, the extra `templates`).

Invariants:
- every value is escaped for HTML, whatever the file is called; what is markup says so itself;
- a name that a page does not get is an error, never an empty place;
- templates are the application's own: this is no sandbox for templates of others.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloche.errors import ClocheError
from cloche.web.errors import SettingError
from cloche.web.response import html

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.web.request import Request
    from cloche.web.response import Response


class TemplatesMissingError(ClocheError):
    """The library for templates is not installed. State: nothing was loaded."""

    code = "WEB_TEMPLATES_MISSING"
    blame = "environment"

    def __init__(self) -> None:
        super().__init__("templates need jinja2; install cloche[templates]")


class TemplateError(ClocheError):
    """A template is missing or fails. State: no page was made."""

    code = "WEB_TEMPLATE"
    blame = "caller"

    def __init__(self, *, name: str, problem: str) -> None:
        super().__init__(f"template {name}: {problem}", name=name, problem=problem)


class Templates:
    """Templates of a folder, or of a mapping from names to texts.

    Args:
        source: the folder or the mapping.
        values: what every page gets.

    Raises:
        TemplatesMissingError: on construction; jinja2 is not installed.
        SettingError: on construction; the folder is none.
    """

    def __init__(
        self, source: str | Path | Mapping[str, str], *, values: Mapping[str, Any] | None = None
    ) -> None:
        if find_spec("jinja2") is None:
            raise TemplatesMissingError
        jinja2 = import_module("jinja2")
        if isinstance(source, str | Path):
            if not Path(source).is_dir():
                raise SettingError(setting="templates", problem=f"{source} is no folder")
            loader = jinja2.FileSystemLoader(source)  # which refuses names that lead out of it
        else:
            loader = jinja2.DictLoader(dict(source))
        self._failure = jinja2.TemplateError
        self._environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
        )
        self._environment.globals.update(values or {})

    def text(self, name: str, **values: Any) -> str:
        """Return a page as text.

        Raises:
            TemplateError: it is not there, is wrong, or needs a value that was not given.
        """
        try:
            found: str = self._environment.get_template(name).render(**values)
        except self._failure as failure:
            problem = f"{type(failure).__name__}: {failure}"
            raise TemplateError(name=name, problem=problem) from failure
        return found

    def page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page as a response. It gets `request` and `csp_nonce` besides its values.

        Raises:
            TemplateError: as `text`.
        """
        nonce = request.context.get("csp_nonce", "")
        return html(self.text(name, request=request, csp_nonce=nonce, **values), status)
