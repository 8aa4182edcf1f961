"""What streaming may cost, and what a module of the room may keep between requests."""

from __future__ import annotations

import ast
import tracemalloc
from pathlib import Path

import pytest

from cloche.web.adapters.fixture import FixtureServices, run_now
from cloche.web.adapters.static_files import Folder
from cloche.web.app import App
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.events import Data
from cloche.web.http1.parser import RequestParser
from cloche.web.request import Request
from cloche.web.response import stream
from cloche.web.static import PIECE_SIZE, add_static

ROOM = Path(__file__).parents[2] / "src/cloche/web"
PIECE = 65_536
COUNT = 400  # 25 MiB
PIECES_MAX = 8  # that may exist at once, with all that Python keeps beside them
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def peak_of(work):
    """Return the most memory that some work needed at once, in bytes.

    What other threads of the process need meanwhile is counted too: the least of three is the work.
    """
    work(2)  # what is made once is not counted
    return min(traced(work) for _ in range(3))


def traced(work):
    """Return the most memory that was needed at once, by whomever, while some work was done."""
    tracemalloc.start()
    try:
        work(COUNT)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Upload:
    """A body that is made while it is read."""

    def __init__(self, count):
        self._left = count

    async def read(self):
        """Return the next piece."""
        if not self._left:
            return b""
        self._left -= 1
        return bytes(PIECE)


def request(target, body=b"", method="GET"):
    """Return a request."""
    return Request(method=method, target=target, body=body, services=FixtureServices())


async def size_of(response):
    """Return the size of a stream, without keeping it."""
    size = 0
    async for piece in response.body:
        size += len(piece)
    return size


def test_an_upload_is_not_kept():
    """A body of any size needs the memory of a few pieces."""
    app = App()

    @app.post("/")
    async def up(request: Request):
        body, size = request.body_reader(), 0
        while piece := await body.read():
            size += len(piece)
        return size

    def work(count):
        response = run_now(app.handle(request("/", Upload(count), "POST")))
        assert int(response.body) == count * PIECE

    assert peak_of(work) < PIECES_MAX * PIECE


def test_a_download_is_not_kept():
    """Nor is a response."""
    app = App()

    @app.get("/:count")
    def down(count: int):
        async def pieces():
            for _ in range(count):
                yield bytes(PIECE)

        return stream(pieces())

    def work(count):
        response = run_now(app.handle(request(f"/{count}")))
        assert run_now(size_of(response)) == count * PIECE

    assert peak_of(work) < PIECES_MAX * PIECE


def test_a_file_is_not_kept(tmp_path):
    """Nor is a file that is shown."""
    app = App()
    add_static(app, "/s", Folder(tmp_path))

    def work(count):
        with (tmp_path / "f").open("wb") as file:
            file.truncate(count * PIECE)
        response = run_now(app.handle(request("/s/f")))
        assert run_now(size_of(response)) == count * PIECE

    assert peak_of(work) < PIECES_MAX * PIECE_SIZE


@pytest.mark.parametrize("chunked", [False, True])
def test_the_parser_keeps_nothing(chunked):
    """Bodies pass through the parser, each byte copied at most twice."""
    caps = Http1Caps(body_limit_bytes=1 << 30)

    def work(count):
        parser = RequestParser(caps)
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {count * PIECE}"
        parser.feed(f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
        size = 0
        for _ in range(count):
            piece = bytes(PIECE)
            if chunked:
                piece = b"%x\r\n%b\r\n" % (PIECE, piece)
            for event in parser.feed(piece):
                if isinstance(event, Data):
                    size += len(event.data)
        assert size == count * PIECE

    assert peak_of(work) < PIECES_MAX * PIECE


def test_the_measure_measures():
    """Work that keeps everything is over the budget."""
    assert peak_of(lambda count: [bytes(PIECE) for _ in range(count)]) > PIECES_MAX * PIECE


def shared_state(source):
    """Return the names of a module that can be changed and are not constants."""
    found = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, MUTABLE):
            continue
        is_final = isinstance(node, ast.AnnAssign) and "Final" in ast.unparse(node.annotation)
        found += [ast.unparse(target) for target in targets if not is_final]
    return [name for name in found if name != "__all__"]


def test_no_module_has_state():
    """What is shared between requests is passed: no module keeps anything that can change."""
    modules = list(ROOM.rglob("*.py"))
    assert len(modules) > 50
    assert {path.name: names for path in modules if (names := shared_state(path.read_text()))} == {}
    assert all("global " not in path.read_text() for path in modules if path.parent == ROOM)
    assert shared_state("cache = {}\nLIST: Final = [1]\n__all__ = []") == ["cache"]


def test_two_applications_share_nothing():
    """What one is given, the other does not have."""
    first, second = App(), App()
    first.get("/")(lambda: "first")
    first.state["a"] = 1
    second.get("/")(lambda: "second")
    answers = [run_now(app.handle(request("/"))).body for app in (first, second)]
    assert answers == [b"first", b"second"]
    assert second.state == {}
