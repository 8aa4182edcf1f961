"""Forms with files: cut right for every split, refused where they are not exact, bounded."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.adapters.fixture import FixtureServices, run_now
from cloche.web.errors import BadRequestError, ContentTooLargeError, UnsupportedMediaTypeError
from cloche.web.multipart import MultipartCaps, MultipartReader, Part, boundary_of
from cloche.web.request import Request

from .support import Pieces

BODY = (
    b"--xyz\r\n"
    b'Content-Disposition: form-data; name="a"\r\n'
    b"\r\n"
    b"one\r\n"
    b"--xyz\r\n"
    b'content-disposition: form-data; name="f"; filename="\xc3\xb6 %22q%22.txt"\r\n'
    b"Content-Type: text/csv\r\n"
    b"\r\n"
    b"\r\n--xy\r\n-\r\n"
    b"\r\n"
    b"--xyz\r\n"
    b"Content-Disposition: form-data; name=empty\r\n"
    b"\r\n"
    b"\r\n"
    b"--xyz--\r\n"
)
PARTS = [
    Part(name="a", content=b"one"),
    Part(name="f", content=b"\r\n--xy\r\n-\r\n", filename='ö "q".txt', content_type="text/csv"),
    Part(name="empty", content=b""),
]


def read(pieces, caps=None):
    """Return the parts of a body in pieces."""
    reader = MultipartReader(b"xyz", caps)
    parts = [part for piece in pieces for part in reader.feed(piece)]
    reader.finish()
    return parts


def one(head=b'Content-Disposition: form-data; name="a"', content=b"x", start=b"--xyz\r\n"):
    """Return a form of one part."""
    return start + head + b"\r\n\r\n" + content + b"\r\n--xyz--\r\n"


def test_any_split():
    """Parts are the same whole, in two, and byte by byte."""
    assert read([BODY]) == PARTS
    assert read([BODY[index : index + 1] for index in range(len(BODY))]) == PARTS
    for cut in range(len(BODY)):
        assert read([BODY[:cut], BODY[cut:]]) == PARTS


def test_the_end():
    """A line end behind the last delimiter may be missing; nothing else may, or may follow."""
    assert read([BODY[:-2]]) == PARTS
    for cut in range(len(BODY) - 2):
        with pytest.raises(BadRequestError):
            read([BODY[:cut]])
    for tail in (b"x", b"\r\n", b"\n"):
        with pytest.raises(BadRequestError):
            read([BODY + tail])
    assert read([b"--xyz--\r\n"]) == []


@pytest.mark.parametrize(
    "body",
    [
        b"preamble\r\n" + BODY,
        b"\r\n" + BODY,
        b"--xyzz" + BODY[5:],
        one(start=b"--xyz \r\n"),
        one(start=b"--xyz\n"),
        one(head=b"Content-Type: text/plain"),
        one(head=b"Content-Disposition: form-data"),
        one(head=b'Content-Disposition: attachment; name="a"'),
        one(head=b'Content-Disposition: form-data; filename="a"'),
        one(head=b'Content-Disposition: form-data; name="a"; name="b"'),
        one(head=b'Content-Disposition: form-data; name="a"; x="b"'),
        one(head=b"Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''b"),
        one(head=b'Content-Disposition: form-data; name="a'),
        one(head=b'Content-Disposition: form-data; name="a";'),
        one(head=b'Content-Disposition: form-data; name="\xff"'),
        one(head=b'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data'),
        one(head=b'Content-Disposition: form-data; name="a"\r\nX: y'),
        one(head=b'Content-Disposition : form-data; name="a"'),
        one(head=b'Content-Disposition: form-data;\r\n name="a"'),
        one(head=b'Content-Disposition: form-data; name="a"\nX: y'),
        one(head=b""),
    ],
)
def test_forms_that_are_refused(body):
    """Whatever could be read in two ways is not read."""
    with pytest.raises(BadRequestError):
        read([body])


def test_limits():
    """Parts, their heads, their contents and the whole are bounded, at the edge."""
    form = one(content=b"x" * 10)
    head = len(b'Content-Disposition: form-data; name="a"')
    exact = MultipartCaps(
        part_count_max=1,
        head_limit_bytes=head,
        part_limit_bytes=10,
        total_limit_bytes=len(form),
    )
    assert len(read([form], exact)) == 1
    two = form.removesuffix(b"--\r\n") + b"\r\n" + form.removeprefix(b"--xyz\r\n")
    assert len(read([two])) == 2
    for body, caps, says in (
        (two, MultipartCaps(part_count_max=1), "the form has more than 1 parts"),
        (
            form,
            MultipartCaps(head_limit_bytes=head - 1),
            f"the head of a part of the form is larger than {head - 1} bytes",
        ),
        (
            form,
            MultipartCaps(part_limit_bytes=9),
            "a part of the form is larger than 9 bytes",
        ),
        (
            form,
            MultipartCaps(total_limit_bytes=len(form) - 1),
            f"the body is larger than {len(form) - 1} bytes",
        ),
    ):
        for pieces in ([body], [body[index : index + 1] for index in range(len(body))]):
            with pytest.raises(ContentTooLargeError) as refused:
                read(pieces, caps)
            assert str(refused.value) == says


def test_bombs_end_early():
    """What is too large is refused before all of it is here."""
    endless = MultipartReader(b"xyz", MultipartCaps(head_limit_bytes=100, part_limit_bytes=100))
    with pytest.raises(ContentTooLargeError):
        endless.feed(b"--xyz\r\n" + b"a" * 104)
    large = MultipartReader(b"xyz", MultipartCaps(part_limit_bytes=100))
    with pytest.raises(ContentTooLargeError):
        large.feed(one(content=b"x" * 200)[:-20])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=xyz", b"xyz"),
        ('Multipart/Form-Data;boundary="a b"', b"a b"),
        ("multipart/form-data; boundary=----WebKitFormBoundary7MA4", b"----WebKitFormBoundary7MA4"),
    ],
)
def test_boundaries(content_type, boundary):
    """A boundary as browsers write it."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/mixed; boundary=a",
        "text/plain; boundary=a",
    ],
)
def test_boundaries_that_are_none(content_type):
    """Without one valid boundary the body cannot be cut."""
    with pytest.raises(UnsupportedMediaTypeError):
        boundary_of(content_type)


def test_a_request():
    """A request reads its form piece by piece."""
    request = Request(
        method="POST",
        target="/",
        fields=[(b"content-type", b"multipart/form-data; boundary=xyz")],
        body=Pieces(BODY[:50], BODY[50:]),
        services=FixtureServices(),
    )
    assert run_now(request.multipart()) == PARTS
    assert PARTS[0].text() == "one"
    with pytest.raises(BadRequestError):
        Part(name="a", content=b"\xff").text()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=5), st.data())
def test_contents_come_back(contents, data):
    """Any content without the delimiter survives."""
    contents = [content for content in contents if b"\r\n--xyz" not in b"\r\n" + content]
    head = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    raw = b"".join(head + content + b"\r\n" for content in contents) + b"--xyz--\r\n"
    cut = data.draw(st.integers(0, len(raw)))
    assert [part.content for part in read([raw[:cut], raw[cut:]])] == contents


@settings(deadline=None)
@given(st.binary(max_size=120), st.integers(0, len(BODY)))
def test_noise(noise, kept):
    """Anything else is a typed error."""
    with suppress(BadRequestError, ContentTooLargeError):
        read([BODY[:kept], noise])
