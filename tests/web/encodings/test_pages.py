"""A page is enough to read its format: a reader made of nothing but its table reads what we write.

The reader knows no format. It takes the rows of the table (offset, size, field) one after the
other: sizes are numbers, `4 + n` for a length with that many bytes, a number for each of `count`,
and `the rest`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given

from cloche.web.encodings import messages

from .formats import CASES

PAGES = Path(__file__).parents[3] / "docs/architecture/encodings"
TIMES = "\N{MULTIPLICATION SIGN}"
ROW = re.compile(
    rf"^\|([^|]*)\| (4 \+ n|\d+(?: {TIMES} count)?|the rest) \| ([^|]+) \|", re.MULTILINE
)
NAMES = {"X7HT", "X7SL", "X7RQ", "X7WC", "EWHR", "EWHC", "X7HC", "X7TL"}
READABLE = [case for case in CASES if case.name in NAMES]


def rows(page):
    """Return the rows of the first table of a page."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return [tuple(map(str.strip, row)) for row in ROW.findall(text.partition("## ")[0])]


def read(page, blob):
    """Return the fields of a value, by what the table calls them. Fails where bytes are left."""
    found, at, count = {}, 0, 0
    for offset, size, field in rows(page):
        if offset.isdecimal():
            assert at == int(offset), f"{field} begins at {at}"
        if size == "4 + n":
            length = int.from_bytes(blob[at : at + 4], "little")
            at += 4
        elif size == "the rest":
            length = len(blob) - at
        else:
            number, _, times = size.partition(f" {TIMES} ")
            length = int(number) * (count if times else 1)
        assert at + length <= len(blob), f"{field} is cut"
        content = blob[at : at + length]
        at += length
        name = re.sub(r"^length, ", "", field)
        if "count" in field:
            count = int.from_bytes(content, "little")
        found[name] = content
    assert at == len(blob), "bytes are left"
    return found


def number(found, start):
    """Return the one field whose name begins so, as a number."""
    (content,) = [content for name, content in found.items() if name.startswith(start)]
    return int.from_bytes(content, "little")


@pytest.mark.parametrize("case", READABLE, ids=[case.name for case in READABLE])
def test_the_table_of_a_page_reads_what_is_written(case):
    """Magic, version and every length are where the page says, and nothing is behind them."""

    @given(case.values)
    def law(value):
        found = read(case.page, case.encode(value))
        (magic,) = [content for name, content in found.items() if name.startswith("magic")]
        assert magic == case.name.encode()
        assert f"magic `{case.name}`" in found
        assert number(found, "version") == 1
        for name, content in found.items():
            if name.startswith(("flags", "reserved")):
                assert not any(content), name

    law()


@pytest.mark.parametrize("name", ["X7RQ", "EWHR"])
def test_a_request_is_read_from_its_page(name):
    """Method, target and body are those that were written, by the numbers of the page."""
    (case,) = [case for case in READABLE if case.name == name]
    (methods,) = [field for _, _, field in rows(case.page) if field.startswith("method")]
    numbers = {int(digits): word for digits, word in re.findall(r"(\d) ([A-Z]+)", methods)}
    assert len(numbers) == len(messages.Method)

    @given(case.values)
    def law(value):
        found = read(case.page, case.encode(value))
        assert numbers[number(found, "method")] == value.method.value
        assert (found["target"], found["body"]) == (value.target, value.body)

    law()


def test_limits_are_read_from_their_page():
    """Numbers stand in the order of the page."""
    (case,) = [case for case in READABLE if case.name == "X7HC"]

    @given(case.values)
    def law(value):
        found = read(case.page, case.encode(value))
        assert number(found, "bytes of the head") == value.header_limit_bytes
        assert number(found, "bytes of the body") == value.body_limit_bytes
        assert number(found, "time to read") == value.read_timeout_ms
        assert number(found, "time to write") == value.write_timeout_ms

    law()


def test_what_does_not_fit_is_noticed():
    """The reader would notice a byte more, a byte less, and a field of another size."""
    blob = messages.encode_request(
        messages.HttpRequest(method=messages.Method.GET, target=b"/a", body=b"b")
    )
    assert read("http-req-v1", blob)["body"] == b"b"
    for broken in (blob + b"\0", blob[:-1], blob[:8] + b"\xff\xff\xff\xff" + blob[12:]):
        with pytest.raises(AssertionError):
            read("http-req-v1", broken)
    with pytest.raises(AssertionError):
        read("web-cassette-v1", blob)
