"""The sample application for servers that import it."""

from __future__ import annotations

from cloche.testing.web import sample_app
from cloche.web.adapters.asgi import AsgiApp
from cloche.web.app import App
from cloche.web.response import Response

app = sample_app()
asgi = AsgiApp(app)
hello = App()
hello.get("/hello")(lambda: Response(200, (), b"hello\n"))
hello.get("/*rest")(lambda rest: Response(404, (), b"not found\n"))
