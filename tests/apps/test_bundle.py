"""The files of a version: what a path may be, how much there may be, and its digest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.bundle import bundle_of
from cloche.apps.errors import BundleError, BundleTooLargeError
from cloche.limits import Limits

MIB = 1 << 20

LIMITS = Limits()
SEGMENT = st.text(st.sampled_from("abcä. -_"), min_size=1, max_size=6).filter(
    lambda text: text not in (".", "..")
)
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\0b",
        "a\nb",
        "\x7f",
        "\ud800",
        "a" * 256,
        "/".join("a" * 64),
        "a" * 200 + "/" + "b" * 200 + "/" + "c/" * 2000 + "d",
    ],
)
def test_paths_that_are_none(path):
    """Nothing absolute, nothing that climbs, nothing a file system would not take."""
    with pytest.raises(BundleError) as caught:
        bundle_of({path: b""}, LIMITS)
    assert caught.value.code == "APP_FILES"


def test_a_file_is_no_folder():
    """One path cannot be the folder of another."""
    with pytest.raises(BundleError, match="lies below 'a/b', which is a file"):
        bundle_of({"a/b/c": b"", "a/b": b""}, LIMITS)


@pytest.mark.parametrize(
    ("limit", "value", "files"),
    [
        ("apps.app_file_count_max", 2, {"a": b"", "b": b"", "c": b""}),
        ("storage.max_file_size", MIB, {"a": bytes(MIB + 1)}),
        ("storage.max_site_size", 10 * MIB, {"a": bytes(10 * MIB), "b": bytes(1)}),
    ],
)
def test_limits(limit, value, files):
    """Number, one file, all files; what just fits is taken."""
    group, _, name = limit.partition(".")
    limits = LIMITS.replace({group: {name: value}})
    with pytest.raises(BundleTooLargeError) as caught:
        bundle_of(files, limits)
    assert caught.value.limit == limit
    fitting = {path: content[:-1] for path, content in list(files.items())[:2]}
    bundle_of(fitting, limits)


@given(st.dictionaries(PATH, st.binary(max_size=20), max_size=6))
def test_the_digest_is_that_of_the_files(files):
    """The order of arrival is nothing; any path or content more is something."""
    try:
        bundle = bundle_of(files, LIMITS)
    except BundleError:
        return
    backwards = dict(reversed(files.items()))
    assert bundle_of(backwards, LIMITS).digest == bundle.digest
    assert bundle_of(backwards, LIMITS).files == bundle.files
    assert bundle_of({**files, "another": b""}, LIMITS).digest != bundle.digest
    for path, content in files.items():
        changed = bundle_of({**files, path: content + b"x"}, LIMITS)
        assert changed.digest != bundle.digest
    assert bundle.by_path == files
    assert bundle.size_bytes == sum(map(len, files.values()))
    assert set(bundle.mounted()) == {f"/app/{path}" for path in files}


def test_contents_cannot_move_between_paths():
    """Paths and contents are framed: nothing can be shifted from one into the other."""
    digests = {
        bundle_of(files, LIMITS).digest
        for files in ({"a": b"bc"}, {"ab": b"c"}, {"a": b"", "b": b"c"}, {"a": b"b", "c": b""}, {})
    }
    assert len(digests) == 5
