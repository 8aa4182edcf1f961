"""The page that shows the routes: complete, escaped, and from nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import msgspec

from cloche.testing.web import sample_app
from cloche.web.app import App
from cloche.web.docs_page import add_docs, write_page
from cloche.web.middleware.security import security_headers

from .support import ask

VOID = {"meta", "br", "!doctype", "th", "td", "tr", "p"}


class Thing(msgspec.Struct):
    """A body for tests."""

    name: str


class Reader(HTMLParser):
    """Collects what a page loads, and whether its elements are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.loads = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def documented():
    """Return an application with a page, and hostile texts in its routes."""
    app = App()
    app.use(security_headers())

    @app.post("/things/:number")
    def change(number: int, thing: Thing, deep: bool = False) -> Thing:
        """Change <script>alert(1)</script> & more.

        The rest of "it".
        """
        return thing

    @app.get("/none")
    def nothing() -> None:
        """Do nothing."""

    add_docs(app, title="<b>", version="1&2", prefix="/v1")
    return app


def test_the_page():
    """It shows each route with its texts escaped, and loads nothing."""
    response = ask(documented(), target="/v1/docs")
    page = response.body.decode()
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.names
    assert reader.loads == ["/v1/openapi.json"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "<title>&lt;b&gt; 1&amp;2</title>" in page
    for word in ("/things/{number}", "/none", "POST", "deep", "Thing", "Error"):
        assert word in page


def test_its_policy():
    """Nothing but its own style is allowed, and the policy of the application gives way."""
    response = ask(documented(), target="/v1/docs")
    (policy,) = [value for name, value in response.fields if name == b"content-security-policy"]
    assert policy.startswith(b"default-src 'none'; style-src 'sha256-")
    assert b"unsafe" not in policy
    digest = re.search(rb"sha256-([^']+)'", policy)[1]
    style = re.search(rb"<style>(.*?)</style>", response.body, re.DOTALL)[1]
    assert base64.b64encode(hashlib.sha256(style).digest()) == digest


def test_the_document():
    """It is the OpenAPI document of all routes, those that show it as well."""
    document = json.loads(ask(documented(), target="/v1/openapi.json").body)
    assert document["openapi"] == "3.1.0"
    assert sorted(document["paths"]) == [
        "/none",
        "/things/{number}",
        "/v1/docs",
        "/v1/openapi.json",
    ]
    assert list(document["paths"]["/none"]["get"]["responses"]) == ["204", "default"]


def test_the_same_bytes():
    """A page follows from its document alone."""
    app = sample_app()
    add_docs(app, title="sample", version="1")
    document = json.loads(ask(app, target="/openapi.json").body)
    assert write_page(document, "/openapi.json") == write_page(document, "/openapi.json")
    assert ask(app, target="/docs").status == 200
