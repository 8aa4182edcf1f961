"""Tools that call out use the lists, secrets and log beside the store of their run."""

from __future__ import annotations

from base64 import b64encode

import pytest

import cloche
from cloche.egress.allowlist import GLOBAL_SCOPE, Entry, NetPolicy
from cloche.egress.open import default_service, open_database, use_service
from cloche.egress.secrets import Secret
from cloche.script.adapters.spawn import Spawner
from cloche.script.openapi_tools import openapi_tools
from cloche.script.web_tools import fetch_tool
from cloche.store.open import open_store

# An address that no call reaches, whatever a list says: which rule refused it tells the list.
ADDRESS = "127.0.0.1"
BLOCKED = "NET_BLOCKED: blocked address"
UNLISTED = "NET_BLOCKED: not allowed"
URL = f"https://{ADDRESS}/x"
LISTED = NetPolicy(scopes=(GLOBAL_SCOPE,), allow_literals=True)
OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {"/x": {"get": {"operationId": "x", "responses": {"200": {"description": "ok"}}}}},
}


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """Return two stores; beside the first, a list and a secret."""
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "of-the-process.db"))
    use_service(None)
    found = [open_store(tmp_path / name) for name in ("own.db", "other.db")]
    beside = open_database(found[0].url)
    beside.put_entry(GLOBAL_SCOPE, Entry(host=ADDRESS))
    beside.put_secret(Secret(name="token", value="s3cret-token", domains=(ADDRESS,)))
    beside.close()
    yield found
    for store in found:
        default_service(store.url).close()
    default_service().close()
    use_service(None)


def said(store, *tools, source="return tools.fetchUrl(context.params.url)"):
    """Return what became of a call that cannot succeed."""
    harness = cloche.ScriptHarness(*tools, store=store)
    result = harness.run(source, params={"url": URL})
    return result.value if result.error is None else result.error["message"]


def test_lists_are_those_beside_the_store(stores):
    """A harness that keeps its runs nowhere has those of the process."""
    own, other = stores
    tool = fetch_tool(LISTED)
    assert BLOCKED in said(own, tool)
    for store in (other, None):
        assert UNLISTED in said(store, tool)


def test_secrets_are_those_beside_the_store(stores):
    """The same tools have the secret of one store and none of the other."""
    own, other = stores
    tools = openapi_tools("api", OPENAPI, base_url=f"https://{ADDRESS}", secret="token")
    source = "return tools.api.x()"
    assert BLOCKED in said(own, tools, source=source)
    assert "NET_AUTH" in said(other, tools, source=source)


def test_detached_work_has_the_same_way_out(stores):
    """The store of a script is that of what it started."""
    spawner = Spawner(fetch_tool(LISTED))
    harness = cloche.ScriptHarness(*spawner.tools, store=stores[0])
    job = harness.run("return tools.spawn.fetchUrl(context.params.url)", params={"url": URL}).value
    done = spawner.wait(job["id"], timeout_s=60)
    assert BLOCKED in str(done)


def test_calls_are_logged_beside_the_store(stores):
    """With the id of the run."""
    own, other = stores
    harness = cloche.ScriptHarness(fetch_tool(LISTED), store=own)
    run_id = harness.run("return tools.fetchUrl(context.params.url)", params={"url": URL}).run_id
    default_service(own.url).close()
    kept = [open_database(store.url).records(count=10) for store in (own, other)]
    assert [[one.run_id for one in records] for records in kept] == [[run_id], []]
