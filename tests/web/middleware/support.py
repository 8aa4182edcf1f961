"""One application with one piece of middleware, asked without a server."""

from __future__ import annotations

from cloche.web.app import App

from ..support import ask  # noqa: TID252 - the same helper, one folder up


def wrapped(handler, *middleware):
    """Return an application that answers every method at / and below."""
    app = App()
    for each in middleware:
        app.use(each)
    for method in ("GET", "POST"):
        app.add(method, "/", handler)
    return app


__all__ = ["ask", "wrapped"]
