"""Pages from templates: escaped, strict, inside of their folder."""

from __future__ import annotations

import pytest

from cloche.web.adapters import templates as module
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.adapters.templates import TemplateError, Templates, TemplatesMissingError
from cloche.web.errors import SettingError
from cloche.web.request import Request


def test_values_are_escaped():
    """Also in a file that is not called .html, and in what every page gets."""
    pages = Templates({"a.txt": "{{ x }} {{ site }}"}, values={"site": "<b>"})
    assert pages.text("a.txt", x="<script>'\"&") == ("&lt;script&gt;&#39;&#34;&amp; &lt;b&gt;")


def test_a_page(tmp_path):
    """It is HTML, knows the request, and the nonce that its scripts need."""
    (tmp_path / "base.html").write_text("<p>{% block a %}{% endblock %}")
    (tmp_path / "a.html").write_text(
        "{% extends 'base.html' %}{% block a %}{{ request.path }} {{ csp_nonce }}{% endblock %}"
    )
    request = Request(method="GET", target="/x?y", services=FixtureServices())
    request.context["csp_nonce"] = "n"
    response = Templates(tmp_path).page(request, "a.html", status=201)
    assert (response.status, response.body) == (201, b"<p>/x n")
    assert response.get(b"content-type") == b"text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.html", "UndefinedError: 'x' is undefined"),
        ("none.html", "TemplateNotFound: 'none.html' not found"),
        ("../secret.html", "TemplateNotFound"),
        ("broken.html", "TemplateSyntaxError"),
    ],
)
def test_templates_that_fail(tmp_path, name, problem):
    """No page is made of them, and the error says which and why."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.html").write_text("secret")
    (root / "missing.html").write_text("{{ x }}")
    (root / "broken.html").write_text("{% if %}")
    with pytest.raises(TemplateError) as raised:
        Templates(str(root)).text(name)
    assert raised.value.message.startswith(f"template {name}: {problem}")


def test_settings(tmp_path, monkeypatch):
    """A folder that is none, and a library that is not there, are found at once."""
    with pytest.raises(SettingError, match="is no folder"):
        Templates(tmp_path / "none")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(TemplatesMissingError, match="install"):
        Templates({})
