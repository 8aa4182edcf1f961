"""Archives of files: what is read of them, what is refused, what is made."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from cloche.limits import Limits
from cloche.server.adapters.file_archives import pack, unpack
from cloche.server.errors import InvalidFieldError

from .support import Asker

FILES = [("a.txt", b"one"), ("d/ü 😀.txt", b"two"), ("d/empty", b"")]
SMALL = Limits().replace(
    {"guests": {"file_count_max": 3, "file_limit_bytes": 4096, "files_limit_bytes": 8192}}
)


def zipped(files=FILES, **options):
    """Return a ZIP."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files=FILES, mode="w", change=None, **options):
    """Return a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if change is not None:
                change(entry)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("archive", [zipped(), tarred(), tarred(mode="w:gz")])
def test_what_is_read(archive):
    """The files of a ZIP, a tar and a packed tar, in their order."""
    assert unpack(archive, Limits()) == FILES


def test_what_is_made_is_read():
    """A ZIP that is made has the same files, and the same bytes each time."""
    with_directory = [*FILES, ("d/e", None)]
    assert unpack(pack(with_directory), Limits()) == FILES
    assert pack(with_directory) == pack(with_directory)
    assert zipfile.ZipFile(io.BytesIO(pack(with_directory))).namelist()[-1] == "d/e/"


def link(entry):
    """Make an entry a link."""
    entry.type, entry.size, entry.linkname = tarfile.SYMTYPE, 0, "/etc/passwd"


def zip_link():
    """Return a ZIP with a link."""
    out, entry = io.BytesIO(), zipfile.ZipInfo("a")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def bomb_of_heads():
    """Return a small tar whose one head says that it goes on for 64 MiB."""
    entry = tarfile.TarInfo("head")
    entry.type, entry.size = tarfile.XHDTYPE, 64 << 20
    return gzip.compress(entry.tobuf(tarfile.USTAR_FORMAT) + bytes(64 << 20))


REFUSED = {
    "nothing": (b"", "no ZIP and no tar"),
    "no archive": (b"hello" * 200, "no ZIP and no tar"),
    "a part": (tarred(mode="w:gz")[:-20], "no ZIP and no tar"),
    "empty": (zipped([]), "there is no file in it"),
    "above": (zipped([("../a", b"")]), "'../a' is no path below"),
    "above later": (tarred([("d/../../a", b"")]), "is no path below"),
    "absolute": (tarred([("/etc/passwd", b"")]), "'/etc/passwd' is no path below"),
    "no UTF-8": (tarred([("\udcff", b"")]), "is no path below"),
    "twice": (tarred([("a", b"1"), ("./a", b"2")]), "a is in it twice"),
    "a link": (tarred([("a", b"")], change=link), "a is a link or no file"),
    "a link in a ZIP": (zip_link(), "a is a link or no file"),
    "LZMA": (zipped([("a", b"1")], compression=zipfile.ZIP_LZMA), "in another way than deflate"),
    "one too large": (zipped([("a", bytes(4097))]), "a has more than guests.file_limit_bytes"),
    "a bomb": (zipped([("a", bytes(9 << 20))], compression=zipfile.ZIP_DEFLATED), "a has more"),
    "all too large": (
        tarred([(name, bytes(4000)) for name in "abc"], mode="w:gz"),
        "guests.files_limit_bytes (8192)",
    ),
    "too many": (zipped([(name, b"") for name in "abcd"]), "guests.file_count_max (3)"),
    "heads": (bomb_of_heads(), "more bytes than a session may have"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    """What leads elsewhere, or is more than a session may have, is said before it is used."""
    archive, says = REFUSED[name]
    with pytest.raises(InvalidFieldError) as caught:
        unpack(archive, SMALL)
    assert caught.value.fields["field"] == "archive"
    assert says in caught.value.message


def session(asker):
    """Return the path of a new session."""
    return "/v1/sessions/" + asker.post("/v1/sessions", {"language": "python"}).document["id"]


ZIP = [("content-type", b"application/zip")]


def test_up_and_down():
    """An archive is unpacked where `path` says, and a directory comes back as a ZIP."""
    asker = Asker()
    path = session(asker)
    put = asker.ask("POST", f"{path}/files?path=/up/", content=zipped(), fields=ZIP)
    assert [file["path"] for file in put.document["items"]] == [
        "/up/a.txt",
        "/up/d/ü 😀.txt",
        "/up/d/empty",
    ]
    down = asker.get(f"{path}/archive?path=/up")
    assert (down.status, down.fields["content-type"]) == (200, "application/zip")
    assert sorted(unpack(down.body, Limits())) == sorted(FILES)
    names = zipfile.ZipFile(io.BytesIO(asker.get(f"{path}/archive").body)).namelist()
    assert names == ["up/", "up/a.txt", "up/d/", "up/d/empty", "up/d/ü 😀.txt"]
    again = asker.get(f"{path}/archive", fields=[("if-none-match", b"*")])
    assert again.status == 304


def test_a_refused_archive_changes_nothing():
    """Not even the files before the wrong one are there."""
    asker = Asker()
    path = session(asker)
    archive = tarred([("a", b"1"), ("../b", b"2")])
    fields = [("content-type", b"application/x-tar")]
    answer = asker.ask("POST", f"{path}/files", content=archive, fields=fields)
    assert (answer.status, answer.document["code"]) == (422, "SERVER_INVALID")
    assert asker.get(f"{path}/files").document["items"] == []
    assert asker.get(f"{path}/archive?path=/nope").status == 404
    other = asker.new_key("session", tenant="other")
    assert (
        asker.ask("POST", f"{path}/files", content=archive, fields=fields, key=other).status == 404
    )
    assert asker.get(f"{path}/archive", key=other).status == 404
