"""Applications by name: ours, those of ASGI, factories, and what is none."""

from __future__ import annotations

import sys

import pytest

from cloche.web.adapters.asgi_client import AsgiBridge
from cloche.web.adapters.loading import AppNotFoundError, load_app
from cloche.web.app import App

SOURCE = """
from starlette.applications import Starlette
from fastapi import FastAPI
from cloche.web.app import App

app = App()
other = Starlette()
third = FastAPI()
number = 7

class Holder:
    inner = app

async def asgi(scope, receive, send):
    pass

def wsgi(environ, start_response):
    pass

def make():
    return App()

async def two(a, b):
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a module of applications."""
    (tmp_path / "shop_for_tests.py").write_text(SOURCE)
    (tmp_path / "broken_for_tests.py").write_text("import none_such_module")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("shop_for_tests", None)


def test_applications(folder):
    """An attribute, `app` without one, of an attribute, or what a function returns."""
    first = load_app("shop_for_tests", folder=folder)
    assert type(first) is App
    assert load_app("shop_for_tests:app", folder=folder) is first
    assert load_app("shop_for_tests:Holder.inner", folder=folder) is first
    assert type(load_app("shop_for_tests:make", folder=folder, factory=True)) is App


@pytest.mark.parametrize("name", ["other", "third", "asgi"])
def test_asgi(folder, name):
    """Starlette, FastAPI and plain functions become applications of ours."""
    assert isinstance(load_app(f"shop_for_tests:{name}", folder=folder), AsgiBridge)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("shop_for_tests:none", "shop_for_tests has no none"),
        ("none_for_tests:app", "no module none_for_tests"),
        ("none_for_tests.sub:app", "no module none_for_tests.sub"),
        (":app", "write module:attribute"),
        ("shop_for_tests:number", "int is neither an App nor an ASGI application"),
        ("shop_for_tests:wsgi", "is it a function that makes one"),
        ("shop_for_tests:two", "neither an App"),
        ("shop_for_tests:Holder", "neither an App"),
    ],
)
def test_what_is_none(folder, name, problem):
    """It is said what is there instead."""
    with pytest.raises(AppNotFoundError) as raised:
        load_app(name, folder=folder)
    assert problem in raised.value.message


def test_a_module_that_fails(folder):
    """Its own failure is raised, and not that it is missing."""
    with pytest.raises(ModuleNotFoundError, match="none_such_module"):
        load_app("broken_for_tests", folder=folder)
