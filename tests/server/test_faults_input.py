"""What a real server does with requests that are too large, malformed, slow or that trick."""

from __future__ import annotations

import io
import json
import os
import select
import stat
import tarfile
import zipfile

import pytest

from .faults import MIB, Raw, head, peak_bytes, pids_of
from .process import serving

UPLOAD = 4 * MIB
SETTINGS = {
    "CLOCHE_STORAGE_MAX_UPLOAD": str(UPLOAD),
    "CLOCHE_SERVER_BODY_LIMIT_BYTES": str(MIB),
    "CLOCHE_STORAGE_MAX_SITE_SIZE": str(10 * MIB),
}
JSON = "content-type: application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with small limits, and a session in it."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--workers", "0", **SETTINGS) as found:
        with found.client() as client:
            client.Session.create("python", name="s").run("x = 1")
        yield found


@pytest.fixture(autouse=True)
def still_serving(server):
    """After each of them the server works as before, and holds no more."""
    before = peak_bytes(pids_of(server)[0])
    yield
    with server.client() as client:
        assert client.run("print(1)", language="python").run.stdout == "1\n"
    assert peak_bytes(pids_of(server)[0]) - before < 160 * MIB


def answer_to(server, method, target, content, *fields):
    """Return the status and the document of an answer."""
    with Raw(server) as raw:
        asked = head(server, method, target, f"content-length: {len(content)}", *fields)
        raw.send(asked + b"\r\n" + content)
        return raw.status(), raw.document()


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/run"),
        ("POST", "/v1/scripts"),
        ("PUT", "/v1/sessions/s/files/a"),
        ("POST", "/v1/sessions/import"),
        ("POST", "/v1/apps/shop/versions"),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_oversized(server, method, target, is_chunked):
    """A body over the limit is 413, before it was sent where its length is told."""
    with Raw(server) as raw:
        if is_chunked:
            raw.send(head(server, method, target, "transfer-encoding: chunked", JSON) + b"\r\n")
            piece = b"%x\r\n%b\r\n" % (MIB, b" " * MIB)
            for _ in range(2 * UPLOAD // MIB):
                raw.send(piece)
        else:
            length = f"content-length: {10 * 1024 * MIB}"
            raw.send(head(server, method, target, length, JSON) + b"\r\n")
        assert raw.status() == 413


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"code": 1}',
        b'{"code": "1", "nothing": 1}',
        b"[" * 100_000,
        b'{"code": "1", "limits": {"time_ms": 1e400}}',
        b'{"code": "\\ud800", "language": "python", "args": ["\\u0000"]}',
    ],
)
def test_malformed(server, content):
    """What is no document of a run is 4xx with a message, never 500."""
    status, document = answer_to(server, "POST", "/v1/run", content, JSON)
    assert 400 <= status < 500, document
    assert document["message"]


@pytest.mark.parametrize(
    "lines",
    [
        b"GET /v1/runs\r\n\r\n",
        b"GET /v1/runs HTTP/9.9\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        b"POST /v1/run HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 10_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
    ],
)
def test_no_requests(server, lines):
    """What is no request is refused with 4xx or 505, or the connection ends."""
    with Raw(server) as raw:
        status = raw.send(lines).status()
        assert status is None or 400 <= status < 500 or status == 505


def in_drops(server):
    """Return connections that sent a part of a head or of a body, and no more."""
    slow = [Raw(server) for _ in range(100)]
    for each in slow[:50]:
        each.send(b"GET /v1/runs HTTP/1.1\r\nhost: a\r\nx-dro")
    for each in slow[50:]:
        asked = head(server, "POST", "/v1/run", "content-length: 1000", JSON)
        each.send(asked + b'\r\n{"co')
    return slow


def is_open(raw):
    """Whether nothing was answered on a connection, and it was not ended."""
    return not select.select([raw.socket], [], [], 0)[0]


def test_slow(tmp_path):
    """Who sends a head or a body in drops does not keep others waiting."""
    patient = {"CLOCHE_WEB_HEAD_TIMEOUT_MS": "600000", "CLOCHE_WEB_BODY_GRACE_MS": "600000"}
    with serving(tmp_path, "--workers", "0", **SETTINGS, **patient) as server:
        slow = in_drops(server)
        with server.client() as client:
            assert client.run("print(1)", language="python").run.stdout == "1\n"
        assert all(map(is_open, slow))
        for each in slow:
            each.close()


def test_too_slow(tmp_path):
    """Who goes on like that is ended."""
    strict = {"CLOCHE_WEB_HEAD_TIMEOUT_MS": "500", "CLOCHE_WEB_BODY_GRACE_MS": "500"}
    with serving(tmp_path, "--workers", "0", **SETTINGS, **strict) as server:
        for each in in_drops(server):
            assert each.status() in (None, 408)
            each.close()


@pytest.mark.parametrize(
    "path",
    [
        "..%2f..%2f..%2ftmp%2fcloche-trick",
        "%2e%2e/%2e%2e/tmp/cloche-trick",
        "a/%2e%2e/%2e%2e/%2e%2e/tmp/cloche-trick",
        "%2ftmp%2fcloche-trick",
        "a%00b",
        "a%0d%0ax-a:%20b",
        "%ff%fe",
        "..%5c..%5cx",
        "C:%5cx",
        "x" * 5000,
        "/".join("x" * 100),
    ],
)
def test_tricks_with_paths(server, path):
    """A name stays in the session, or is refused; the server's own files are not there."""
    with Raw(server) as raw:
        asked = head(server, "PUT", f"/v1/sessions/s/files/{path}", "content-length: 1")
        status = raw.send(asked + b"\r\nx").status()
    assert status in (204, 400, 404, 409, 413, 422), status
    assert not os.path.lexists("/tmp/cloche-trick")
    with server.client() as client:
        session = client.Session.open("s")
        for each in session.list_files("/", recursive=True):
            assert each.path.startswith("/")
            assert ".." not in each.path.split("/")
            if each.kind == "file":
                session.remove(each.path)


def packed_zip(*entries):
    """Return a ZIP of (name, content, mode)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("main.js", "export default { fetch: () => new Response('x') }")
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            files.writestr(entry, content)
    return out.getvalue()


def packed_tar(*entries, mode="w"):
    """Return a tar of (name, kind, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as files:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            files.addfile(entry)
    return out.getvalue()


BOMB = bytes(64 * MIB)
FILE = stat.S_IFREG | 0o644
ARCHIVES = {
    "traversal": packed_zip(("../../x", b"x", FILE)),
    "absolute": packed_zip(("/tmp/cloche-trick", b"x", FILE)),
    "backslash": packed_zip(("..\\x", b"x", FILE)),
    "symlink": packed_zip(("link", b"/etc/passwd", stat.S_IFLNK | 0o777)),
    "tar symlink": packed_tar(("link", tarfile.SYMTYPE, "/etc/passwd")),
    "tar hardlink": packed_tar(("link", tarfile.LNKTYPE, "/etc/passwd")),
    "tar device": packed_tar(("null", tarfile.CHRTYPE, "")),
    "tar traversal": packed_tar(("../x", tarfile.REGTYPE, "")),
    "bomb": packed_zip(("zeros", BOMB, FILE)),
    "many": packed_zip(*((f"f{n}", b"", FILE) for n in range(3000))),
    "cut": packed_zip(("a", b"a" * 1000, FILE))[:-30],
    "nothing": b"",
    "noise": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_apps(server, name):
    """An archive with tricks is refused with what is wrong, and there is no app."""
    status, document = answer_to(server, "POST", "/v1/apps/shop/versions", ARCHIVES[name])
    assert status in (413, 422), document
    assert document["code"] in ("APP_FILES", "APP_FILES_LIMIT", "APP_TOO_LARGE"), document
    assert not os.path.lexists("/tmp/cloche-trick")
    with server.client() as client:
        assert client.apps.list() == []


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_sessions(server, name):
    """What is no session that this server signed is refused before anything of it is read."""
    status, document = answer_to(server, "POST", "/v1/sessions/import", ARCHIVES[name])
    assert (status, document["code"]) == (422, "SESSION_ARCHIVE"), document
    with server.client() as client:
        assert [each.name for each in client.Session.list().items] == ["s"]


def test_a_changed_archive(server):
    """Every byte of an exported session is signed: none can be changed."""
    with server.client() as client:
        archive = client.Session.open("s").export()
    for at in range(0, len(archive), max(1, len(archive) // 40)):
        changed = archive[:at] + bytes([archive[at] ^ 0x55]) + archive[at + 1 :]
        status, document = answer_to(server, "POST", "/v1/sessions/import", changed)
        assert status == 422, (at, json.dumps(document))
