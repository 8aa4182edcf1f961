"""Files as responses: which names are shown, and what a request gets of them."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.adapters.fixture import BrokenOffError, run_now
from cloche.web.adapters.static_files import Folder, MemoryFiles
from cloche.web.app import App
from cloche.web.errors import SettingError
from cloche.web.media_types import media_type_of
from cloche.web.ports import FileInfo
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.static import PIECE_SIZE, add_static, file_response

from .support import ask, body_of

CHANGED = int(datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC).timestamp())
LARGE = bytes(range(256)) * 1024  # 256 KiB
SECRET = b"outside of the root"


@pytest.fixture
def folder(tmp_path):
    """Return a folder with files to be shown, and others that must never be."""
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".well-known").mkdir()
    (tmp_path / "secret.txt").write_bytes(SECRET)
    for name, content in {
        "a.txt": b"0123456789",
        "large.bin": LARGE,
        "index.html": b"<p>root",
        "sub/index.html": b"<p>sub",
        "sub/deep/x.css": b"p{}",
        ".env": SECRET,
        ".git/config": SECRET,
        ".well-known/security.txt": b"contact",
        "\u00e9 \u4e2d.txt": b"unicode",
        "packed.js": b"let a = 1;",
        "packed.js.br": b"BR",
        "packed.js.gz": b"GZ",
        "stale.js": b"new",
        "stale.js.gz": b"OLD",
        "a:b.txt": SECRET,
        "con.txt": SECRET,
    }.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (CHANGED, CHANGED))
    os.utime(root / "stale.js.gz", (CHANGED - 1, CHANGED - 1))
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "outside").symlink_to(tmp_path)
    (root / "inside.txt").symlink_to("a.txt")
    (root / "around").symlink_to(".")
    os.mkfifo(root / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.txt"))
    return root


def shown(files, target, method="GET", fields=(), **settings_):
    """Return the response to a request for a file, and its whole body."""
    app = App()
    add_static(app, "/s", files, **settings_)
    response = ask(app, method, target, fields=fields)
    return response, body_of(response)


def test_a_file(folder):
    """It has its type, its date, a tag, and may be asked again and in parts."""
    response, body = shown(Folder(folder), "/s/a.txt")
    assert (response.status, body) == (200, b"0123456789")
    fields = dict(response.fields)
    assert fields == {
        b"content-type": b"text/plain; charset=utf-8",
        b"etag": f'"{CHANGED * 10**9:x}-a"'.encode(),
        b"last-modified": b"Thu, 29 Feb 2024 12:00:00 GMT",
        b"accept-ranges": b"bytes",
        b"cache-control": b"no-cache",
        b"vary": b"accept-encoding",
        b"x-content-type-options": b"nosniff",
    }


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/s/", b"<p>root"),
        ("/s/index.html", b"<p>root"),
        ("/s/sub/", b"<p>sub"),
        ("/s/sub/deep/x.css", b"p{}"),
        ("/s/.well-known/security.txt", b"contact"),
        ("/s/%C3%A9%20%E4%B8%AD.txt", b"unicode"),
        ("/s/large.bin", LARGE),
    ],
)
def test_what_is_shown(folder, target, body):
    """Names with escapes, folders by their index, large files in pieces."""
    response, found = shown(Folder(folder), target)
    assert (response.status, found) == (200, body)
    assert response.is_stream is (len(body) > PIECE_SIZE)
    assert response.length == (len(body) if response.is_stream else None)


HIDDEN = [
    "/s/../secret.txt",
    "/s/..%2Fsecret.txt",
    "/s/%2e%2e/secret.txt",
    "/s/.%2e/secret.txt",
    "/s/sub/../../secret.txt",
    "/s/%2e%2e%2fsecret.txt",
    "/s/..%5csecret.txt",
    "/s/sub%5c..%5c..%5csecret.txt",
    "/s/%252e%252e/secret.txt",
    "/s/..%c0%afsecret.txt",
    "/s/%c0%ae%c0%ae/secret.txt",
    "/s/%uff0e%uff0e/secret.txt",
    "/s/%EF%BC%8E%EF%BC%8E/secret.txt",
    "/s//etc/passwd",
    "/s/%2Fetc%2Fpasswd",
    "/s/a.txt%00",
    "/s/a.txt%00.html",
    "/s/a.txt%0a",
    "/s/a.txt%20",
    "/s/a.txt.",
    "/s/a.txt/",
    "/s/a.txt/x",
    "/s/a.txt::$DATA",
    "/s/a:b.txt",
    "/s/con.txt",
    "/s/C:%5csecret.txt",
    "/s/./a.txt",
    "/s/sub//index.html",
    "/s/.env",
    "/s/.git/config",
    "/s/.",
    "/s/..",
    "/s/out.txt",
    "/s/outside/secret.txt",
    "/s/pipe.txt",
    "/s/socket.txt",
    "/s/none",
    "/s/" + "a" * 300,
    "/s/" + "a/" * 100,
    "/s",
]


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("target", HIDDEN)
def test_what_is_not_shown(folder, target, links):
    """No spelling leads out of the root, to a hidden file, or to what is no file."""
    response, body = shown(Folder(folder, links=links), target)
    assert response.status in {400, 404}
    assert SECRET not in body


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["..", "%2e%2e", "%2f", "/", "%5c", "root", "secret.txt", "%00"])))
def test_no_combination_leads_out(tmp_path_factory, parts):
    """Whatever a target is made of, the file beside the root is not shown."""
    base = tmp_path_factory.getbasetemp() / "static-law"
    (base / "root").mkdir(parents=True, exist_ok=True)
    (base / "secret.txt").write_bytes(SECRET)
    response, body = shown(Folder(base / "root"), "/s/" + "/".join(parts))
    assert (response.status in {400, 404}, body == SECRET) == (True, False)


def test_links(folder):
    """They are followed where that is asked for, and lead to a place inside."""
    for name, body in (("inside.txt", b"0123456789"), ("around/a.txt", b"0123456789")):
        assert shown(Folder(folder), f"/s/{name}")[0].status == 404
        assert shown(Folder(folder, links=True), f"/s/{name}")[1] == body
    assert shown(Folder(folder, links=True), "/s/around")[0].status == 308


def test_a_folder_without_its_slash(folder):
    """It is a redirect to the same name with one, so that relative links work."""
    response, _ = shown(Folder(folder), "/s/sub")
    assert (response.status, response.get(b"location")) == (308, b"sub/")
    assert shown(Folder(folder), "/s/sub/deep")[0].status == 404
    assert shown(Folder(folder), "/s/sub", index=None)[0].status == 404
    assert shown(Folder(folder), "/s/", index=None)[0].status == 404


def test_head(folder):
    """It says the size and opens no body."""
    app = App()
    add_static(app, "/s", Folder(folder))
    response = ask(app, "HEAD", "/s/large.bin")
    assert (response.status, response.length, list(response.body)) == (200, len(LARGE), [])


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"if-none-match", b'"x", %s')], 304),
        ([(b"if-none-match", b"*")], 304),
        ([(b"if-none-match", b'"x"')], 200),
        ([(b"if-modified-since", b"Thu, 29 Feb 2024 12:00:00 GMT")], 304),
        ([(b"if-modified-since", b"Thu, 29 Feb 2024 11:59:59 GMT")], 200),
        ([(b"if-match", b'"x"')], 412),
        ([(b"if-unmodified-since", b"Thu, 29 Feb 2024 11:59:59 GMT")], 412),
    ],
)
def test_preconditions(folder, fields, status):
    """A client that has the file already gets no body."""
    tag = shown(Folder(folder), "/s/a.txt")[0].get(b"etag")
    sent = [(name, value.replace(b"%s", tag)) for name, value in fields]
    response, body = shown(Folder(folder), "/s/a.txt", fields=sent)
    assert response.status == status
    assert bool(body) is (status == 200)
    assert response.get(b"etag") == tag


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        (b"bytes=0-0", 206, b"0", b"bytes 0-0/10"),
        (b"bytes=2-", 206, b"23456789", b"bytes 2-9/10"),
        (b"bytes=-3", 206, b"789", b"bytes 7-9/10"),
        (b"bytes=-99", 206, b"0123456789", b"bytes 0-9/10"),
        (b"bytes=5-99", 206, b"56789", b"bytes 5-9/10"),
        (b"bytes=10-", 416, b"", b"bytes */10"),
        (b"bytes=-0", 416, b"", b"bytes */10"),
        (b"bytes=0-1,3-4", 200, b"0123456789", None),
        (b"bytes=5-2", 200, b"0123456789", None),
        (b"lines=1-2", 200, b"0123456789", None),
        (b"bytes=-", 200, b"0123456789", None),
    ],
)
def test_ranges(folder, wanted, status, body, content_range):
    """One range is a part; several are answered with the whole, so none is assembled."""
    response, found = shown(Folder(folder), "/s/a.txt", fields=[(b"range", wanted)])
    assert (response.status, found) == (status, body)
    assert response.get(b"content-range") == content_range


def test_a_large_range(folder):
    """A part that is large streams as well, with its length."""
    wanted = [(b"range", b"bytes=100000-199999")]
    response, body = shown(Folder(folder), "/s/large.bin", fields=wanted)
    assert (response.status, response.length) == (206, 100_000)
    assert body == LARGE[100_000:200_000]


@pytest.mark.parametrize(
    ("accepted", "body", "coding"),
    [
        (b"gzip, br", b"BR", b"br"),
        (b"gzip", b"GZ", b"gzip"),
        (b"br;q=0, gzip", b"GZ", b"gzip"),
        (b"identity", b"let a = 1;", None),
    ],
)
def test_compressed_files(folder, accepted, body, coding):
    """The file beside is sent to who takes it, with its own tag and the type of the original."""
    plain = shown(Folder(folder), "/s/packed.js")[0]
    response, found = shown(Folder(folder), "/s/packed.js", fields=[(b"accept-encoding", accepted)])
    assert (found, response.get(b"content-encoding")) == (body, coding)
    assert response.get(b"content-type") == b"text/javascript; charset=utf-8"
    assert (response.get(b"etag") == plain.get(b"etag")) is (coding is None)


def test_a_compressed_file_that_is_older(folder):
    """It is not what the file is now."""
    fields = [(b"accept-encoding", b"gzip")]
    assert shown(Folder(folder), "/s/stale.js", fields=fields)[1] == b"new"


def test_files_are_closed(folder):
    """Whether they are sent, known already, refused, or left in the middle."""

    def count():
        """Return how many files of the folder are open; other threads open what they like."""
        found = []
        for each in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(each.readlink())
        return sum(folder in path.parents for path in found)

    for fields in ([], [(b"if-none-match", b"*")], [(b"range", b"bytes=999999-")]):
        shown(Folder(folder), "/s/large.bin", fields=fields)
    app = App()
    add_static(app, "/s", Folder(folder))
    response = ask(app, target="/s/large.bin")
    run_now(anext(aiter(response.body)))
    assert count() == 1
    run_now(response.body.aclose())
    assert count() == 0


def test_a_file_that_becomes_shorter(folder):
    """The stream breaks off: a length was promised."""
    app = App()
    add_static(app, "/s", Folder(folder))
    response = ask(app, target="/s/large.bin")
    os.truncate(folder / "large.bin", 10)
    with pytest.raises(BrokenOffError, match="became shorter"):
        body_of(response)


def test_files_in_memory():
    """They are shown like others, without a disk."""
    response, body = shown(MemoryFiles({"a/b.json": b"{}"}), "/s/a/b.json")
    assert (body, response.get(b"content-type")) == (b"{}", b"application/json")


def test_a_download():
    """The name is in both forms, with nothing that could end it."""
    app = App()

    @app.get("/")
    async def save(request: Request):
        file = await MemoryFiles({"a": b"x"}).open(("a",))
        return await file_response(
            request, file, content_type="text/csv", download='r\u00e9sum\u00e9 "1".csv'
        )

    assert ask(app).get(b"content-disposition") == (
        b"attachment; filename=\"r_sum_ _1_.csv\"; filename*=UTF-8''r%C3%A9sum%C3%A9%20%221%22.csv"
    )


def test_settings_that_make_no_sense(tmp_path):
    """They are found at once."""
    with pytest.raises(SettingError, match="is no folder"):
        Folder(tmp_path / "none")
    files = MemoryFiles({})
    for wrong in ({"cache_control": "a\r\nb"}, {"index": "../index.html"}):
        with pytest.raises(SettingError):
            add_static(App(), "/s", files, **wrong)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PNG", "image/png"),
        ("a.b.html", "text/html; charset=utf-8"),
        ("html", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("a.exe", "application/octet-stream"),
    ],
)
def test_media_types(name, kind):
    """They follow from the end of the name, in any case."""
    assert media_type_of(name) == kind


def test_a_file_that_cannot_be_read():
    """It is closed, and the failure is an answer of 500."""

    class Broken:
        info = FileInfo(10, 0)
        is_open = True

        async def read(self, offset, size):
            raise OSError(5, "broken")

        def close(self):
            self.is_open = False

    file = Broken()
    app = App()

    @app.get("/")
    async def show(request: Request):
        return await file_response(request, file, content_type="text/plain")

    assert ask(app).status == 500
    assert not file.is_open


@pytest.mark.parametrize("name", ["", "a\r\nb", "a\0"])
def test_names_of_downloads_that_are_none(name):
    """They are refused, and would never reach a field."""
    app = App()

    @app.get("/")
    async def save(request: Request):
        file = await MemoryFiles({"a": b"x"}).open(("a",))
        return await file_response(request, file, content_type="text/csv", download=name)

    assert ask(app).status == 500
