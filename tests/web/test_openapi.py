"""The OpenAPI document says what the routes answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import msgspec
import pytest
from jsonschema import Draft202012Validator

from cloche.web.app import App
from cloche.web.errors import SettingError
from cloche.web.openapi import describe, differences, render
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time

from .support import ask


class Item(msgspec.Struct):
    """Something to sell."""

    name: str
    tags: list[str] = []


def shop():
    """Return an application with typed routes."""
    app = App()

    @app.get("/items/:number")
    def find(number: int, sort: Literal["up", "down"] = "up", limit: int | None = None) -> Item:
        """Find an item.

        By its number.
        """
        return Item(name=f"{number} {sort} {limit}")

    @app.post("/items")
    def add(item: Item) -> list[Item]:
        return [item]

    @app.get("/files/*path")
    def file(request: Request) -> str:
        return request.params["path"]

    @app.route("PURGE", "/items")
    def purge():
        return None

    return app


def document(app=None, title="Shop"):
    """Return the document of an application, read back from its bytes."""
    return json.loads(render(describe(app or shop(), title=title, version="1")))


def test_routes():
    """Paths, methods, parameters, bodies, results."""
    found = document()
    assert (found["openapi"], found["info"]) == ("3.1.0", {"title": "Shop", "version": "1"})
    assert {path: sorted(each) for path, each in found["paths"].items()} == {
        "/items/{number}": ["get"],
        "/items": ["post"],
        "/files/{path}": ["get"],
    }
    operation = found["paths"]["/items/{number}"]["get"]
    assert (operation["operationId"], operation["summary"]) == ("find", "Find an item.")
    assert operation["description"] == "Find an item.\n\nBy its number."
    assert operation["parameters"] == [
        {"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}},
        {
            "name": "sort",
            "in": "query",
            "required": False,
            "schema": {"enum": ["down", "up"], "default": "up"},
        },
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    ]
    reference = {"$ref": "#/components/schemas/Item"}
    assert operation["responses"]["200"]["content"] == {"application/json": {"schema": reference}}
    added = found["paths"]["/items"]["post"]
    assert added["requestBody"]["content"]["application/json"]["schema"] == reference
    file = found["paths"]["/files/{path}"]["get"]
    assert file["parameters"][0]["name"] == "path"
    assert file["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}


def test_the_same_bytes():
    """Two builds give one document, sorted, with a line end."""
    one, two = (render(describe(shop(), title="a", version="1", servers=("/x",))) for _ in "ab")
    assert one == two
    assert one.endswith(b"}\n")
    assert json.loads(one)["servers"] == [{"url": "/x"}]
    assert list(json.loads(one)) == sorted(json.loads(one))


def test_answers_fit_the_document():
    """What the application answers, and its errors, are valid by the schemas of its document."""
    found = document()

    def check(response, schema):
        Draft202012Validator({**schema, "components": found["components"]}).validate(
            json.loads(response.body)
        )

    success = found["paths"]["/items/{number}"]["get"]["responses"]["200"]
    check(ask(shop(), target="/items/7"), success["content"]["application/json"]["schema"])
    failure = found["paths"]["/items/{number}"]["get"]["responses"]["default"]
    for target in ("/items/x", "/none", "/items/7?limit=x"):
        check(ask(shop(), target=target), failure["content"]["application/json"]["schema"])


def test_names_that_collide():
    """A handler with several routes has several names; a type may have the name of the error."""
    app = App()

    def give() -> str:
        return ""

    for method, path in (("GET", "/a"), ("POST", "/a"), ("GET", "/b")):
        app.add(method, path, give)
    paths = document(app)["paths"]
    assert [paths["/a"]["get"]["operationId"], paths["/a"]["post"]["operationId"]] == [
        "give",
        "give_2",
    ]
    assert paths["/b"]["get"]["operationId"] == "give_3"


def returning(annotation):
    """Return an application with a handler of this annotation."""

    def give():
        return None

    give.__annotations__["return"] = annotation
    app = App()
    app.add("GET", "/", give)
    return app


def named(name):
    """Return a type of this name."""
    return msgspec.defstruct(name, [("text", str)])


def test_types_that_are_named_like_the_error():
    """The error document has the next name; where both are taken, it is said."""
    found = document(returning(named("Error")))
    assert set(found["components"]["schemas"]) == {"Error", "ErrorDocument"}
    answers = found["paths"]["/"]["get"]["responses"]
    schema = answers["default"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ErrorDocument"}
    both = msgspec.defstruct("Error", [("inner", named("ErrorDocument"))])
    with pytest.raises(SettingError, match="types have the names Error and ErrorDocument"):
        document(returning(both))


ANY = {"description": "Any value"}


@dataclass
class Plain:
    """A dataclass."""

    size: int


@pytest.mark.parametrize(
    ("annotation", "statuses", "schema"),
    [
        (dict[str, object], ["200"], {"type": "object", "additionalProperties": ANY}),
        (Plain, ["200"], {"$ref": "#/components/schemas/Plain"}),
        (Plain | None, ["200", "204"], {"$ref": "#/components/schemas/Plain"}),
        (Plain | str, ["200"], None),
        (None, ["204"], None),
        (bytes, ["200"], None),
    ],
)
def test_what_is_returned(annotation, statuses, schema):
    """Each annotation has its statuses, and a schema where it says one."""
    annotation = type(None) if annotation is None else annotation
    answers = document(returning(annotation))["paths"]["/"]["get"]["responses"]
    assert list(answers) == sorted([*statuses, "default"])
    content = answers[statuses[0]].get("content")
    assert (content and content["application/json"]["schema"]) == schema


def test_an_empty_application():
    """No routes are no paths."""
    assert document(App())["paths"] == {}


def test_the_catalogue_of_errors():
    """Each code that an application answers with is in the document with its status."""
    listed = document()["x-errors"]
    seen = {}
    for method, target, body in (
        ("GET", "/none", b""),
        ("PUT", "/items/7", b""),
        ("BREW", "/items/7", b""),
        ("GET", "/items/x", b""),
        ("GET", "/items/%zz", b""),
    ):
        response = ask(shop(), method, target, body=body)
        seen[json.loads(response.body)["code"]] = response.status
    assert len(seen) == 5
    assert seen.items() <= listed.items()
    assert listed["INTERNAL"] == 500


def test_what_differs():
    """Everything but the name and version of the API, by its place."""
    kept = json.loads(render(document()))
    assert differences(kept, document(title="another")) == []
    path = kept["paths"]["/items/{number}"]
    path["get"]["parameters"] = "a" * 300
    path["brew"] = {}
    del path["get"]["responses"]
    where = "/paths/~1items~1{number}"
    found = differences(kept, document())
    assert found[0] == f"{where}/brew: is not there any more"
    assert found[1].startswith(f'{where}/get/parameters: was "aaa')
    assert found[2] == f"{where}/get/responses: is new"
    assert len(found) == 3
    assert len(found[1]) < 500
    assert differences([], document()) == ["the kept document is no object"]
