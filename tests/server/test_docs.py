"""The pages of the server say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloche.store.errors import StoreUnavailableError

from .process import serving
from .support import Asker

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "server.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (DOCS / "client.md").read_text(encoding="utf-8") + PAGE, re.DOTALL
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server for the examples."""
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(server, example, tmp_path, monkeypatch):
    """Every example of the client and of MCP runs as it stands, but for the address."""
    monkeypatch.chdir(tmp_path)
    example = example.replace("http://127.0.0.1:8787", server.url)
    exec(compile(example, "example", "exec"), {"__name__": "example", "KEY": server.key})


def test_there_are_examples():
    """The expression above finds them."""
    assert len(EXAMPLES) == 4


def documented():
    """Return the routes that the table of the page has: method, template, scope."""
    found = set()
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`") or "/" not in cells[0]:
            continue
        methods, path = [], ""
        for text in re.findall(r"`([^`]+)`", cells[0]):
            *named, last = text.split()
            if named:
                methods = [*methods, *named] if not path else named
            if last.startswith("/"):
                path = last
            elif last.isupper():
                methods.append(last)
                continue
            else:  # the last part of a path like the one before
                path = path.rsplit("/", 1)[0] + "/" + last
            found |= {(method, path, cells[1]) for method in methods}
    return found


def test_routes_are_listed():
    """The table of routes is that of the operations."""
    scopes = {"anybody": "none", "key": "any key"}
    known = {
        (
            each.method,
            re.sub(r"[:*](\w+)", r"{\1}", each.template),
            each.scope or scopes[each.access],
        )
        for each in Asker().server.operations
    }
    assert documented() == known


def test_the_description_is_openapi():
    """It is valid OpenAPI 3.1 in its main parts, and names every operation once."""
    asker = Asker()
    document = asker.get("/openapi.json", key="").document
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert document["openapi"] == "3.1.0"
    assert len(operations) == len(asker.server.operations)
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    schemas = document["components"]["schemas"]
    for reference in re.findall(
        r'"\$ref":"#/components/schemas/(\w+)"', asker.get("/openapi.json", key="").body.decode()
    ):
        assert reference in schemas
    run = document["paths"]["/v1/run"]["post"]
    assert (run["security"], run["x-scope"]) == ([{"key": []}], "run")
    assert set(run["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "Idempotency-Key" in {each["name"] for each in run["parameters"]}


def test_the_page_for_people():
    """It has every route, no script, and needs nothing from elsewhere."""
    asker = Asker()
    answer = asker.get("/docs", key="")
    page = answer.body.decode()
    assert all(f"{each.method} {each.template}" in page for each in asker.server.operations)
    assert "<script" not in page
    assert "http://" not in page
    assert answer.fields["content-security-policy"].startswith("default-src 'none'")


def test_limits():
    """They are those that are in force, and their schema."""
    asker = Asker(heartbeat_ms=1234)
    assert asker.get("/api/system/limits").document["server"]["heartbeat_ms"] == 1234
    schema = asker.get("/api/system/limits/schema").document["server"]["heartbeat_ms"]
    assert schema == {
        "label": "Heartbeat",
        "desc": "Silence of a stream of events after which a comment is sent",
        "read_only": False,
        "unit": "ms",
        "min": 100,
        "max": 600_000,
    }


def test_health():
    """A server lives before it is ready, and says why it is not."""
    asker = Asker()
    asker.server.is_warm.clear()
    assert asker.get("/healthz", key="").status == 200
    answer = asker.get("/readyz", key="")
    assert (answer.status, answer.document["reasons"]) == (503, ["images are being made"])
    asker.server.is_warm.set()
    assert asker.get("/readyz", key="").status == 200
    asker.server.stop()
    assert asker.get("/readyz", key="").document["reasons"] == ["the server is about to stop"]


def test_health_without_a_store():
    """A server that cannot read its store says so, and is ready again when it can."""
    asker = Asker()
    documents = asker.server.keyring._documents
    found = documents.list

    def broken(*_args, **_options):
        raise StoreUnavailableError(store="memory:", reason="it is gone")

    documents.list = broken
    answer = asker.get("/readyz", key="")
    assert (answer.status, answer.document["reasons"]) == (503, ["the store cannot be read"])
    documents.list = found
    assert asker.get("/readyz", key="").status == 200


def test_metrics():
    """They count by route and never by what a client wrote."""
    asker = Asker()
    asker.get("/v1/runs/secret-name")
    text = asker.get("/metrics").body.decode()
    assert 'http_requests_total{method="GET",route="/v1/runs/:id",status="404"} 1' in text
    assert "secret-name" not in text
    assert "cloche_runs_waiting 0" in text


def test_the_memory_of_the_machine():
    """The numbers have it from `hardware.total_ram`; `/healthz`, which anybody asks, has it not."""
    asker = Asker()
    memory = f"cloche_memory_limit_bytes {asker.limits.hardware.total_ram}"
    assert memory in asker.get("/metrics").body.decode().splitlines()
    assert asker.get("/healthz", key="").document == {"status": "ok", "reasons": []}


def test_pages_of_other_origins():
    """They may ask where the server was told so, and see what they need of the answer."""
    asker = Asker(cors_origins=("https://app.example.org",))
    preflight = [
        ("origin", b"https://app.example.org"),
        ("access-control-request-method", b"POST"),
        ("access-control-request-headers", b"authorization,content-type,idempotency-key"),
    ]
    answer = asker.ask("OPTIONS", "/v1/run", key="", fields=preflight)
    assert answer.status == 204
    assert answer.fields["access-control-allow-origin"] == "https://app.example.org"
    assert "authorization" in answer.fields["access-control-allow-headers"]
    answer = asker.post("/v1/run", {"code": "1"}, fields=preflight[:1])
    assert answer.fields["access-control-allow-origin"] == "https://app.example.org"
    assert "cloche-run" in answer.fields["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.fields
    stranger = asker.get("/healthz", key="", fields=[("origin", b"https://evil.example")])
    assert "access-control-allow-origin" not in stranger.fields
    assert "access-control-allow-origin" not in Asker().get("/healthz", fields=preflight[:1]).fields


def test_old_answers_are_forgotten():
    """Maintenance removes kept answers whose time is over, now and then."""
    asker = Asker(idempotency_ms=1000)
    fields = [("idempotency-key", b"k")]
    asker.post("/v1/run", {"code": "1"}, fields=fields)
    asker.host.time_ns += 2_000_000_000
    assert asker.store.documents.get("server.answers.default", "k") is not None
    for _ in range(600):
        asker.server.maintain()
    assert asker.store.documents.get("server.answers.default", "k") is None
