"""The files of an app from folders and archives, also from hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.adapters.archives import read_archive, read_folder
from cloche.apps.bundle import bundle_of
from cloche.apps.errors import BundleError, BundleTooLargeError
from cloche.limits import Limits

LIMITS = Limits()
PIECE_BYTES = 65_536  # what is read at once
FILES = {"main.js": b"export default {}", "static/a.txt": b"a", "static/b/c.bin": bytes(300)}


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    """Return a ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files, mode="w:gz"):
    """Return a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def tar_of(*entries):
    """Return a tar archive of entries without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry in entries:
            archive.addfile(entry)
    return out.getvalue()


def link(name, target, kind):
    """Return an entry that is no file."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def written(folder, files):
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_all_ways_give_the_same_version(tmp_path):
    """A folder and its archives are one version, with or without a folder around it."""
    written(tmp_path, FILES)
    around = {f"app-1.0/{name}": content for name, content in FILES.items()}
    dotted = {f"./{name}": content for name, content in FILES.items()}
    found = [
        read_folder(tmp_path, LIMITS),
        read_archive(zipped(FILES), LIMITS),
        read_archive(zipped(FILES, zipfile.ZIP_STORED), LIMITS),
        read_archive(zipped(around), LIMITS),
        read_archive(tarred(FILES), LIMITS),
        read_archive(tarred(FILES, "w"), LIMITS),
        read_archive(tarred(dotted), LIMITS),
    ]
    assert {each.digest for each in found} == {bundle_of(FILES, LIMITS).digest}


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=5), st.binary(max_size=50), min_size=2, max_size=5
    )
)
def test_round_trip(files):
    """What is packed is what comes out."""
    assert read_archive(zipped(files), LIMITS).by_path == files
    assert read_archive(tarred(files), LIMITS).by_path == files


def test_what_a_folder_leaves_out(tmp_path):
    """Hidden files, caches and installed packages are no part of an app."""
    left_out = {
        ".git/config": b"",
        ".env": b"SECRET=1",
        "__pycache__/x.pyc": b"",
        "node_modules/a/b.js": b"",
        "lib/.hidden": b"",
    }
    written(tmp_path, {**FILES, **left_out})
    assert set(read_folder(tmp_path, LIMITS).by_path) == set(FILES)


def test_links_in_a_folder(tmp_path):
    """A link is refused: what it leads to is not what was meant to be deployed."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    app = tmp_path / "app"
    written(app, FILES)
    (app / "link").symlink_to(secret)
    with pytest.raises(BundleError, match="link"):
        read_folder(app, LIMITS)


def test_no_folder(tmp_path):
    """A path that is not there, or is no folder, is an error that names it."""
    with pytest.raises(BundleError, match="nothing' is not there"):
        read_folder(tmp_path / "nothing", LIMITS)
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="file' is no folder"):
        read_folder(tmp_path / "file", LIMITS)


@pytest.mark.parametrize(
    "entry",
    [
        link("a", "/etc/passwd", tarfile.SYMTYPE),
        link("a", "main.js", tarfile.LNKTYPE),
        link("a", "", tarfile.FIFOTYPE),
        link("a", "", tarfile.CHRTYPE),
    ],
    ids=["symlink", "hardlink", "fifo", "device"],
)
def test_what_is_no_file(entry):
    """Links and devices of an archive are refused."""
    with pytest.raises(BundleError, match="link or no file"):
        read_archive(tar_of(entry), LIMITS)


def test_a_link_in_a_zip():
    """As in tar, where the archive says so in the mode of an entry."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("a")
        entry.create_system = 3
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(BundleError, match="link or no file"):
        read_archive(out.getvalue(), LIMITS)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "a\\..\\b", "a//b", "C:\\x", "a/."]
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_paths_that_leave(name, pack):
    """A path that is not a plain one is refused; nothing is made better of it."""
    with pytest.raises(BundleError):
        read_archive(pack({"main.js": b"", name: b"x"}), LIMITS)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "../../x", ".././x"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_paths_that_all_leave(name, pack):
    """What everything lies in is left out only when it is a folder of the archive."""
    with pytest.raises(BundleError):
        read_archive(pack({name: b"x"}), LIMITS)


def test_the_same_path_twice():
    """Which of two files is meant is not guessed."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", "2")
    with pytest.raises(BundleError, match="twice"):
        read_archive(data.getvalue(), LIMITS)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_bombs(pack):
    """A small archive of a large file stops at the limit, not at the end of the file."""
    small = LIMITS.replace({"storage": {"max_file_size": 1 << 20}})
    with pytest.raises(BundleTooLargeError, match=r"storage\.max_file_size") as caught:
        read_archive(pack({"a": bytes(50_000_000), "b": b""}), small)
    assert caught.value.fields["found"] <= (1 << 20) + PIECE_BYTES
    total = LIMITS.replace({"storage": {"max_site_size": 10 << 20}})
    with pytest.raises(BundleTooLargeError, match=r"storage\.max_site_size") as caught:
        read_archive(pack({str(number): bytes(6_000_000) for number in range(9)}), total)
    assert caught.value.fields["found"] <= (10 << 20) + PIECE_BYTES
    few = LIMITS.replace({"apps": {"app_file_count_max": 3}})
    with pytest.raises(BundleTooLargeError, match=r"apps\.app_file_count_max") as caught:
        read_archive(pack({str(number): b"" for number in range(10)}), few)
    assert caught.value.fields["found"] == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"PK\x03\x04" + bytes(40),
        b"\x1f\x8bxxxx",
        b"no archive at all" * 40,
        b"\xfd7zXZ\0",
    ],
    ids=["empty", "stub", "cut", "gzip", "text", "xz"],
)
def test_what_is_no_archive(data):
    """Anything else is an error that says so."""
    with pytest.raises(BundleError, match="the file 'archive' is no archive"):
        read_archive(data, LIMITS)
    with pytest.raises(
        BundleError, match=r"the file 'app\.zip' is no archive \(ZIP, tar, tar\.gz\)"
    ):
        read_archive(data, LIMITS, name="app.zip")


@given(st.binary(max_size=2000), st.integers(0, 400), st.booleans())
def test_broken_archives(noise, place, is_zip):
    """An archive that was damaged is read or refused, and nothing else."""
    good = bytearray(zipped(FILES) if is_zip else tarred(FILES, "w"))
    good[place : place + len(noise)] = noise
    try:
        read_archive(bytes(good), LIMITS)
    except (BundleError, BundleTooLargeError):
        return


def test_a_head_without_end():
    """A head of a tar that claims to be larger than everything together is not read to its end."""
    limits = LIMITS.replace(
        {"apps": {"app_file_count_max": 4}, "storage": {"max_site_size": 10 << 20}}
    )
    entry = tarfile.TarInfo("head")
    entry.type, entry.size = tarfile.XHDTYPE, 1 << 30
    archive = gzip.compress(entry.tobuf(tarfile.USTAR_FORMAT) + bytes(12 << 20))
    with pytest.raises(BundleTooLargeError) as caught:
        read_archive(archive, limits)
    assert caught.value.fields["limit"] == "storage.max_site_size"
    assert caught.value.fields["found"] <= (10 << 20) + 4 * 4096 + PIECE_BYTES


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_ways_of_packing(method):
    """They may ask for more memory than they have bytes; they are refused."""
    with pytest.raises(BundleError, match="is packed otherwise than deflated"):
        read_archive(zipped({"main.js": b"1"}, method), LIMITS)
