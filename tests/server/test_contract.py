"""The API against its own description: schemathesis asks every operation, and finds nothing.

Each operation is asked twice: with whatever ids come to mind, and with those of what is there. The
examples are the same each time.
"""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cloche.web.adapters.asgi import AsgiApp

from .support import Asker
from .tools import TOOLS

EXAMPLE_COUNT = 8
# A body can be right field by field and make no sense as a whole: then it is 422.
LEFT_OUT = [positive_data_acceptance]
KEY_OF_SECRETS = b64encode(bytes(32)).decode()


def server():
    """Return a server with one object of each kind, and their ids by the part of the path."""
    asker = Asker(
        allow_net=True,
        tools={"default": TOOLS},
        run_timeout_ms_max=60_000,
        run_memory_limit_bytes_max=64 << 20,
    )
    asker.post("/v1/sessions", {"language": "javascript", "name": "mine"})
    asker.ask("PUT", "/v1/sessions/mine/files/a.txt", content=b"mine")
    asker.post("/v1/scripts", {"source": "await tools.send({to: 'ann'})"})
    approval = asker.get("/v1/approvals").document["items"][0]
    entry = asker.post("/v1/net/allowlist", {"host": "a.example"}).document
    secret = {"value": "a-long-value", "domains": ["a.example"]}
    asker.ask("PUT", "/v1/net/secrets/KEY", body=secret)
    hook = asker.post("/v1/webhooks", {"url": "https://a.example/"}).document
    code = "console.log(await cloche.promise.create())"
    promised = asker.post("/v1/sessions/mine/run", {"code": code}).document
    asker.objects = {
        "promises": promised["stdout"].strip(),
        "runs": asker.run("1", "javascript")["id"],
        "sessions": "mine",
        "scripts": approval["run_id"],
        "approvals": approval["id"],
        "keys": asker.new_key("run").split("_")[1],
        "tenants": "default",
        "allowlist": entry["id"],
        "secrets": "KEY",
        "webhooks": hook["id"],
    }
    return asker


@pytest.fixture(autouse=True)
def own_lists(tmp_path, monkeypatch):
    """Lists and secrets of this test alone."""
    monkeypatch.setenv("CLOCHE_SECRET_STORE", str(tmp_path / "net.db"))
    monkeypatch.setenv("CLOCHE_SECRET_KEY", KEY_OF_SECRETS)


def operations_of(asker):
    """Return what the description of a server has, by method and path."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", AsgiApp(asker.server.app))
    found = (each.ok() for each in schema.get_all_operations())
    return {f"{each.method.upper()} {each.path}": each for each in found}


NAMES = sorted(operations_of(Asker()))
# A recorded request needs an app that ran: tests/server/test_apps.py has one.
WITH_OBJECT = [name for name in NAMES if "{id}" in name and "/requests/" not in name]


def test_every_route_is_asked():
    """The tests below are about all of the table of operations."""
    parameter = re.compile(r"[:*]([a-z]+)")
    table = {
        f"{each.method} " + parameter.sub(r"{\1}", each.template)
        for each in Asker().server.operations
    }
    assert set(NAMES) | {"GET /openapi.json"} == table
    assert len(NAMES) > 70


def asked(name, *, known):
    """Ask an operation for what its description allows, and for what it does not."""
    asker = server()
    kind = name.partition("/{id}")[0].rpartition("/")[2]

    @settings(
        max_examples=EXAMPLE_COUNT,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations_of(asker)[name].as_strategy())
    def law(case):
        if known:
            case.path_parameters["id"] = asker.objects[kind]
        case.call_and_validate(
            headers={"Authorization": f"Bearer {asker.key}"}, excluded_checks=LEFT_OUT
        )

    law()
    assert [each for each in asker.records if each.get("event") == "error"] == []


IGNORED = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@IGNORED
@pytest.mark.parametrize("name", NAMES)
def test_an_operation(name):
    """Valid and invalid requests are answered with statuses, types and bodies as documented."""
    asked(name, known=False)


@IGNORED
@pytest.mark.parametrize("name", WITH_OBJECT)
def test_an_operation_on_what_is_there(name):
    """The same where the object exists."""
    asked(name, known=True)
