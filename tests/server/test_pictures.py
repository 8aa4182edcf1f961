"""Which of the files that a run left are shown as pictures, and how many."""

from __future__ import annotations

import pytest

from cloche.engine.vfs import StoredFile
from cloche.server.pictures import COUNT_MAX, TOTAL_LIMIT_BYTES, bounded, drawn, shown_kind

PNG = b"\x89PNG\r\n\x1a\n"


def stored(path, content=PNG):
    """Return a file."""
    return StoredFile(path=path, content=content)


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("a.png", PNG, "png"),
        ("A.PNG", PNG, "png"),
        ("a.jpg", b"\xff\xd8\xff\xe0", "jpeg"),
        ("a.jpeg", b"\xff\xd8\xff", "jpeg"),
        ("a.gif", b"GIF89a", "gif"),
        ("a.webp", b"RIFF\x01\n\x02\x03WEBP", "webp"),
        ("a.png", b"GIF89a", None),
        ("a.png", b" " + PNG, None),
        ("a.webp", b"RIFFWEBP", None),
        ("a.svg", b"<svg>", None),
        ("png", PNG, None),
    ],
)
def test_a_picture_begins_as_its_kind_does(path, content, kind):
    """The suffix says which kind, and the content must be of it."""
    assert shown_kind(path, content) == kind


def test_what_a_run_was_given_is_not_shown_again():
    """It is found by the path that it had in the run; what was drawn over it is new."""
    given = [stored("old.png"), stored("d/../over.png"), stored("/abs.png")]
    files = [
        stored("/w/old.png"),
        stored("/w/over.png", PNG + b"new"),
        stored("/abs.png"),
        stored("/old.png"),
        stored("/w/a.txt", b"text"),
    ]
    found = drawn(files, given=given, cwd="/w")
    assert found == {"/old.png": PNG, "/w/over.png": PNG + b"new"}


def test_as_many_as_a_message_may_hold():
    """Those whose paths come first, whatever the order that they were written in."""
    found = {f"/{number}.png": PNG for number in reversed(range(COUNT_MAX + 1))}
    assert list(bounded(found)) == [f"/{number}.png" for number in range(COUNT_MAX)]


def test_as_much_as_a_message_may_hold():
    """The sum counts; one that has no room leaves it to smaller ones behind it."""
    half = PNG + bytes(TOTAL_LIMIT_BYTES // 2 - len(PNG))
    found = {"/a.png": half, "/b.png": half + b"x", "/c.png": half, "/d.png": PNG}
    assert list(bounded(found)) == ["/a.png", "/c.png"]
    assert bounded({"/a.png": half + half + b"x"}) == {}


def test_what_is_no_picture_takes_no_room():
    """A worker that tells of other files tells of none."""
    found = {"/a.png": b"text", "/b.txt": PNG, "/c.png": PNG}
    assert bounded(found) == {"/c.png": PNG}
