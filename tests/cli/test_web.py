"""`cloche web`: routes, documents, recorded traffic."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress

import pytest
import trustme
from tests.cli.support import cloche
from tests.cli.web_server import Served

from cloche.web.adapters.fixture import FixtureServices, run_now
from cloche.web.adapters.traffic_file import TrafficFile, TrafficFileError, read_traffic
from cloche.web.app import App
from cloche.web.encodings.cassette import encode_cassette
from cloche.web.request import Request
from cloche.web.traffic import Recorder

SOURCE = '''
from starlette.applications import Starlette
from cloche.web.app import App
from cloche.web.websocket.channel import WebSocket

app = App()
asgi = Starlette()

@app.get("/")
def home() -> str:
    """Say hello."""
    return "hello"

@app.websocket("/socket")
async def socket(socket: WebSocket):
    pass

def make():
    return app

from starlette.responses import PlainTextResponse
from starlette.routing import Route

starlette = Starlette(routes=[Route("/", lambda request: PlainTextResponse("from starlette"))])
broken = App()
broken.get("/")(lambda: 1 / 0)

import os
processes = App()
processes.get("/")(lambda: str(os.getpid()))
processes.get("/fails")(lambda: 1 / 0)
'''


@pytest.fixture
def folder(tmp_path):
    """Return a folder with an application, and traffic of it and of another."""
    (tmp_path / "shop.py").write_text(SOURCE)
    for name, greeting in (("same", "hello"), ("other", "good morning")):
        record(tmp_path / f"{name}.x7wt", greeting)
    return tmp_path


def record(path, greeting, count=1):
    """Record an application that says something."""
    app = App()
    app.get("/")(lambda: greeting)
    with TrafficFile(path) as file:
        app.wrap(Recorder(file.write).middleware())
        for _ in range(count):
            request = Request(method="GET", target="/", services=FixtureServices())
            run_now(app.handle(request))


def test_routes(folder):
    """Each with its method, its template and its handler; an ASGI application tells nothing."""
    done = cloche("web", "routes", "shop:app", cwd=folder)
    assert done.stdout == "GET       /  home\nWEBSOCKET /socket  socket\n"
    made = cloche("web", "routes", "shop:make", "--factory", cwd=folder)
    assert made.stdout == done.stdout
    other = cloche("web", "routes", "shop:asgi", cwd=folder)
    assert (other.stdout, other.exit_code) == ("", 0)
    assert "no routes" in other.stderr


def test_openapi(folder):
    """The document of the application, with the names that were given."""
    done = cloche("web", "openapi", "shop", "--title", "Shop", "--version", "2", cwd=folder)
    assert done.document["info"] == {"title": "Shop", "version": "2"}
    assert list(done.document["paths"]) == ["/"]


def test_an_api_that_changed(folder):
    """A document that was kept is compared, and what differs is named."""
    kept = folder / "openapi.json"
    kept.write_text(cloche("web", "openapi", "shop", cwd=folder).stdout)
    same = cloche("web", "openapi", "shop", "--check", "openapi.json", "--title", "X", cwd=folder)
    assert (same.exit_code, same.stdout) == (0, "shop is as openapi.json says\n")
    kept.write_text(kept.read_text().replace("Say hello.", "Say goodbye."))
    other = cloche("web", "openapi", "shop", "--check", "openapi.json", cwd=folder)
    assert other.exit_code == 1
    assert '/paths/~1/get/summary: was "Say goodbye.", is "Say hello."\n' in other.stdout
    kept.write_text("{")
    broken = cloche("web", "openapi", "shop", "--check", "openapi.json", cwd=folder)
    assert (broken.exit_code, broken.stdout) == (2, "")
    assert "--check: openapi.json: Expecting" in broken.stderr


def test_an_application_that_is_not_there(folder):
    """It is an error of usage that says what was looked for."""
    done = cloche("web", "routes", "shop:none", cwd=folder)
    assert (done.exit_code, done.stderr) == (
        2,
        "cloche: no application is at shop:none: shop has no none\n",
    )


FAILS = """
from cloche.web.app import App

app = App()

@app.on_start
async def connect(state):
    raise RuntimeError("no database")
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hook_that_fails(folder, workers):
    """Its own lines are shown, and none of the server's."""
    (folder / "fails.py").write_text(FAILS)
    options = ("--workers", workers, "--bind", "127.0.0.1:0", "--limit", "web.worker_restart_ms=10")
    done = cloche("web", "serve", "fails", *options, cwd=folder)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "RuntimeError: no database\n" in done.stderr
    assert "fails.py" in done.stderr
    assert "server.py" not in done.stderr


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import a_library_that_is_missing", "No module named 'a_library_that_is_missing'"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails(folder, source, line):
    """A module that is there and cannot be imported is shown with its own lines."""
    (folder / "fails.py").write_text(source)
    for command in ("serve", "routes", "openapi"):
        done = cloche("web", command, "fails", cwd=folder)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("cloche: fails cannot be loaded\n")
        assert line in done.stderr
        assert "importlib" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("chain", "key", "problem"),
    [
        ("none.pem", "key.pem", "none.pem: No such file or directory"),
        ("chain.pem", "none.pem", "none.pem: No such file or directory"),
        ("chain.pem", "chain.pem", "chain.pem and chain.pem: the chain or the key is no PEM"),
        ("chain.pem", "other.pem", "the key is not that of the first certificate of the chain"),
    ],
)
def test_certificates_that_cannot_be_used(folder, workers, chain, key, problem):
    """It is said once which file is wrong and how, and nothing is served."""
    authority = trustme.CA()
    issued, other = authority.issue_cert("a.test"), authority.issue_cert("b.test")
    issued.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    other.private_key_pem.write_to_path(folder / "other.pem")
    options = ("--certificate", chain, "--key", key, "--workers", workers)
    done = cloche("web", "serve", "shop", *options, "--bind", "127.0.0.1:0", cwd=folder)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"cloche: TLS of the server: {problem}\n"


def test_replay(folder):
    """The same bytes exit with 0, others with 1 and what differs."""
    same = cloche("web", "replay", "same.x7wt", "shop", cwd=folder)
    assert (same.exit_code, same.stdout) == (0, "1 of 1 answers have the same bytes\n")
    other = cloche("web", "replay", "other.x7wt", "shop", cwd=folder)
    assert other.exit_code == 1
    assert other.stdout == (
        "GET /: another body: 5 bytes, recorded were 12\n0 of 1 answers have the same bytes\n"
    )
    document = cloche("web", "replay", "other.x7wt", "shop", "--json", cwd=folder).document
    assert document == {
        "same": False,
        "count": 1,
        "exchanges": [
            {
                "method": "GET",
                "target": "/",
                "status": 200,
                "problem": "another body: 5 bytes, recorded were 12",
            }
        ],
    }


def test_what_is_in_a_file(folder):
    """Without an application a file is shown, also one with a single pair."""
    shown = cloche("web", "replay", "other.x7wt", cwd=folder)
    assert shown.stdout == "200 GET / 12 bytes\n"
    (entry,) = read_traffic(folder / "other.x7wt")
    (folder / "one.x7wc").write_bytes(encode_cassette(entry.pair))
    document = cloche("web", "replay", "one.x7wc", "--json", cwd=folder).document
    assert document["exchanges"][0]["body_bytes"] == 12


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"nonsense", "expected the magic"), (b"X7WT\x01\x00\x00\x00\x05", "length of entry needs")],
)
def test_files_that_are_none(folder, content, problem):
    """They are refused with the place of the fault."""
    (folder / "broken.x7wt").write_bytes(content)
    done = cloche("web", "replay", "broken.x7wt", "shop", cwd=folder)
    assert done.exit_code == 2
    assert done.stderr.startswith("cloche: cannot read broken.x7wt: ")
    assert problem in done.stderr
    missing = cloche("web", "replay", "none.x7wt", cwd=folder)
    assert missing.exit_code == 2
    assert missing.stderr == "cloche: cannot read none.x7wt: No such file or directory\n"


def test_a_file_grows(tmp_path):
    """Entries are added, the file is its owner's alone, and another kind of file is not touched."""
    path = tmp_path / "traffic.x7wt"
    record(path, "a")
    record(path, "b", count=2)
    assert [entry.pair.response.body for entry in read_traffic(path)] == [b"a", b"b", b"b"]
    assert path.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(TrafficFileError, match="no recorded traffic"):
        TrafficFile(other)
    assert other.read_text() == "mine"
    with pytest.raises(TrafficFileError):
        TrafficFile(tmp_path / "none" / "traffic.x7wt")


def test_serve_and_record(folder):
    """It is served until it is told to stop; what was recorded gives the same bytes again."""
    with Served(folder, "shop:app", "--record", "new.x7wt", "--redact", "authorization") as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert served.get()[::2] == (200, b"hello")
        assert served.get("/none", authorization="secret")[0] == 404
    assert (served.exit_code, served.stderr) == (0, "")
    again = cloche("web", "replay", "new.x7wt", "shop", cwd=folder)
    assert again.stdout == "2 of 2 answers have the same bytes\n"
    assert b"secret" not in (folder / "new.x7wt").read_bytes()


def test_serve_asgi(folder):
    """An application of another framework is served alike."""
    with Served(folder, "shop:starlette") as served:
        assert served.get("/")[::2] == (200, b"from starlette")
    assert served.exit_code == 0


def test_serve_over_tls(folder):
    """TLS 1.3 with a certificate of one's own."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    with Served(folder, "shop", "--certificate", str(chain), "--key", str(key)) as served:
        assert served.url.startswith("https://")
        assert served.get()[::2] == (200, b"hello")


def test_serve_with_several_processes(folder):
    """They share the address, the log and the recording; one that is killed is replaced."""
    options = ("--workers", "2", "--log", "log.jsonl", "--record", "new.x7wt")
    options += ("--limit", "web.worker_restart_ms=10")
    with Served(folder, "shop:processes", *options) as served:
        first = int(served.get()[2])
        os.kill(first, signal.SIGKILL)
        others = set()
        while len(others) < 2:  # the one that was there, and the one that comes
            with suppress(OSError):  # what had come to the one that is gone
                others |= {int(served.get()[2])} - {first}
        assert served.get("/none")[0] == 404
        assert served.get("/fails")[0] == 500
    assert (served.exit_code, served.stderr) == (0, "")
    assert {entry.pair.response.status for entry in read_traffic(folder / "new.x7wt")} == {
        200,
        404,
        500,
    }
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["type"] for record in records if record["event"] == "failure"] == [
        "ZeroDivisionError"
    ]


@pytest.mark.parametrize(
    ("count", "problem"), [("0", "range x>=1"), ("65", "not 1 to web.worker_count_max, 64")]
)
def test_numbers_of_processes(folder, count, problem):
    """One at least, and no more than the limit."""
    done = cloche("web", "serve", "shop", "--workers", count, cwd=folder)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr


def test_serve_with_limits_and_a_log(folder):
    """Limits hold, and records are lines of JSON in the file that was named."""
    options = ("--limit", "web.field_count_max=1", "--log", "log.jsonl")
    with Served(folder, "shop:broken", *options) as served:
        assert served.get()[0] == 431
    with Served(folder, "shop:broken", "--log", "log.jsonl") as served:
        assert served.get()[0] == 500
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["type"] for record in records if record["event"] == "failure"] == [
        "ZeroDivisionError"
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--certificate", "a.pem"), "--key: certificate and key are given together"),
        (("--key", "a.pem"), "--certificate: certificate and key are given together"),
        (("--tls-1-2",), "--tls-1-2: it needs --certificate and --key"),
        (("--trust", "everyone"), "--trust: 'everyone' does not appear to be"),
        (("--forwarded",), "--forwarded: it needs --trust"),
        (("--limit", "web.none=1"), "web.none"),
        (("--limit", "nonsense"), "--limit: 'nonsense' is not web.NAME=VALUE"),
        (("--log", "/none/log"), "--log: /none/log: No such file"),
        (("--record", "/none/log"), "--record: /none/log: No such file"),
        (("--redact", "cookie"), "--redact: it needs --record"),
        (("--bind", "nowhere"), "nowhere"),
        (("--dir", "nowhere"), "no application is at shop: nowhere is no folder"),
        (("--factory",), "App is no function that makes an app (no --factory)"),
    ],
)
def test_options_that_make_no_sense(folder, options, problem):
    """They are errors of usage, and nothing is served."""
    done = cloche("web", "serve", "shop", *options, cwd=folder)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr
