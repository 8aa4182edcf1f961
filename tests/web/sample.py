"""The sample application for servers that import it."""

from __future__ import annotations

from cloche.testing.web import sample_app
from cloche.web.adapters.asgi import AsgiApp

app = sample_app()
asgi = AsgiApp(app)
