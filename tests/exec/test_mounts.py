"""Tests of mounts: what is asked for, what is read of a folder, what programs can do with it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time

import pytest

from cloche.exec.adapters.folders import picture_of
from cloche.exec.errors import FileAccessError, InvalidRunError, RuntimeFailedError
from cloche.exec.mounts import Mount, decode_picture, encode_picture
from cloche.exec.session import Session, sessions_of
from cloche.exec.session_log import Mounted
from cloche.limits import Limits
from cloche.store.open import open_store

from .support import both

SECRET = b"the secret of the host"
RACE_S = 2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for the tests of this file."""
    opened = open_store(tmp_path_factory.mktemp("store") / "cloche.db", durability="normal")
    yield opened
    sessions_of(opened).close()
    opened.close()


@pytest.fixture
def folder(tmp_path):
    """A folder of the host with files, folders and links, and a secret beside it."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    made = tmp_path / "folder"
    (made / "sub/empty").mkdir(parents=True)
    (made / "a.txt").write_bytes(b"a")
    (made / "sub/b.bin").write_bytes(bytes([0, 255]))
    (made / "inner").symlink_to("sub/b.bin")
    return made


def entries(folder, limits=None):
    """Return what a picture of a folder shows, as tuples."""
    picture = picture_of(str(folder), limits or Limits())
    return [(entry.path, entry.kind, entry.content) for entry in picture]


def digest(folder):
    """Return what stands for all that is in a folder of the host."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(str(path))
        if path.is_symlink():
            parts.append(str(path.readlink()))
        elif path.is_file():
            parts.append(path.read_bytes())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# --- what is asked for ---


@pytest.mark.parametrize(
    ("text", "host", "guest", "mode"),
    [
        ("/srv/data:/data", "/srv/data", "/data", "ro"),
        ("data:/data:ro", "data", "/data", "ro"),
        ("./a:b:/data:overlay", "./a:b", "/data", "overlay"),
    ],
)
def test_reading_a_mount(text, host, guest, mode):
    """Host and guest, from the right; read-only if nothing else is said."""
    assert Mount.parse(text) == Mount(host=host, guest=guest, mode=mode)


@pytest.mark.parametrize(
    "text", ["", "/data", ":/data", "/srv:data", "/srv:/a/../b", "/srv:/data:rw", "a\0b:/data"]
)
def test_what_is_no_mount(text):
    """The message says what is wrong."""
    with pytest.raises(InvalidRunError, match="mount"):
        Mount.parse(text)


def test_no_other_mode():
    """Writing to the host is not offered."""
    with pytest.raises(InvalidRunError, match="'rw' is no kind of mount"):
        Mount(host="a", guest="/a", mode="rw")


# --- what is read ---


def test_a_picture(folder):
    """Files with their bytes, folders, links as links, sorted; equal folders give equal bytes."""
    assert entries(folder) == [
        ("a.txt", "file", b"a"),
        ("inner", "symlink", b"sub/b.bin"),
        ("sub", "directory", b""),
        ("sub/b.bin", "file", bytes([0, 255])),
        ("sub/empty", "directory", b""),
    ]
    picture = picture_of(str(folder), Limits())
    assert decode_picture(encode_picture(picture)) == picture
    assert encode_picture(picture_of(str(folder), Limits())) == encode_picture(picture)


def test_links_are_not_followed(folder):
    """Neither to files nor to folders, outside or inside."""
    (folder / "out").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to("..")
    (folder / "root").symlink_to("/")
    (folder / "loop").symlink_to("loop")
    found = {path: (kind, content) for path, kind, content in entries(folder)}
    assert found["out"] == ("symlink", str(folder.parent / "secret.txt").encode())
    assert found["up"] == ("symlink", b"..")
    assert {"root", "loop"} <= found.keys()
    assert not any(path.startswith(("up/", "root/")) for path in found)


def test_what_is_no_file_is_left_out(folder):
    """A pipe without a writer does not hang, a socket and a device are not opened."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(folder, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
        assert [path for path, _, _ in entries(folder)] == [
            "a.txt", "inner", "sub", "sub/b.bin", "sub/empty",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("guests", "problem"),
    [
        ({"file_limit_bytes": 1024}, "file_limit_bytes"),
        ({"files_limit_bytes": 1024 * 1024, "file_limit_bytes": 700_000}, "files_limit_bytes"),
        ({"file_count_max": 4}, "file_count_max"),
        ({"path_depth_max": 1}, "path_depth_max"),
    ],
)
def test_what_is_too_much(folder, guests, problem):
    """It is refused while it is read, and the message names the limit."""
    for name in ("x", "y"):
        (folder / name).write_bytes(bytes(600_000))
    with pytest.raises(InvalidRunError, match=problem):
        picture_of(str(folder), Limits().replace({"guests": guests}))


def test_a_file_that_has_no_end(folder):
    """A sparse file of a terabyte is given up at the limit."""
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidRunError, match="huge: it is larger than"):
        picture_of(str(folder), Limits())


def test_names_that_are_not_utf_8(folder):
    """They cannot be in a session."""
    (folder / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(InvalidRunError, match="not UTF-8"):
        picture_of(str(folder), Limits())


def test_what_is_no_folder(folder):
    """A file, nothing, and what may not be read."""
    for path in (folder / "a.txt", folder / "missing"):
        with pytest.raises(InvalidRunError, match="cannot mount"):
            picture_of(str(path), Limits())


CHANGER = """
import os, pathlib, sys
name, link, target, what = *map(pathlib.Path, sys.argv[1:4]), sys.argv[4]
while True:
    if what == "file":
        name.write_bytes(b"fine")
    else:
        name.mkdir()
        (name / "secret.txt").write_bytes(b"fine")
        (name / "secret.txt").unlink()
        name.rmdir()
    link.symlink_to(target)
    os.rename(link, name)
    name.unlink()
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_no_race_leads_out(folder, what):
    """While a name changes between what it is and a link to a secret, no secret is read."""
    target = folder.parent / ("secret.txt" if what == "file" else ".")
    paths = [str(folder / "changing"), str(folder.parent / "link"), str(target)]
    changer = subprocess.Popen([sys.executable, "-c", CHANGER, *paths, what])
    seen = set()
    until = time.monotonic() + RACE_S
    try:
        while time.monotonic() < until or (len(seen) < 2 and changer.poll() is None):
            for path, kind, content in entries(folder):
                assert content != SECRET
                if path == "changing":
                    seen.add(kind)
    finally:
        changer.kill()
        changer.wait()
    assert seen == {"symlink", "file" if what == "file" else "directory"}


# --- in a session ---

READ = {
    "python": "print(open('/m/a.txt').read(), open('/m/inner', 'rb').read()[1])",
    "javascript": "const fs = require('fs'); "
    "console.log(fs.readFileSync('/m/a.txt', 'utf8'), fs.readFileSync('/m/inner')[1])",
}
APPEND = {
    "python": "open('/m/a.txt', 'a').write('b'); open('/m/sub/new', 'w').write('n')",
    "javascript": "require('fs').appendFileSync('/m/a.txt', 'b'); "
    "require('fs').writeFileSync('/m/sub/new', 'n')",
}


@both
def test_programs_read_a_mount(store, folder, language):
    """In both languages, links within it too, and after sleep from what is kept."""
    with Session.create(language, mounts=[Mount(host=str(folder), guest="/m")], store=store) as one:
        assert one.run(READ[language]).run.stdout == "a 255\n"
        (folder / "a.txt").write_bytes(b"changed since")
        sessions_of(store).sleep(one.id)
        assert one.run(READ[language].replace("const fs", "var fs")).run.stdout == "a 255\n"
        one.mount(Mount(host=str(folder), guest="/m"))
        assert one.download("/m/a.txt") == b"changed since"
        assert one.list_files("/m/sub")[0].read_only


@both
def test_an_overlay_stays_in_the_session(store, folder, language):
    """Programs write, the host sees nothing, a fork has its own, and renewing starts anew."""
    before = digest(folder)
    mount = Mount(host=str(folder), guest="/m", mode="overlay")
    with Session.create(language, mounts=[mount], store=store) as one, one.fork() as other:
        one.run(APPEND[language])
        assert one.download("/m/a.txt") == b"ab"
        assert other.download("/m/a.txt") == b"a"
        sessions_of(store).sleep(one.id)
        assert one.download("/m/sub/new") == b"n"
        assert digest(folder) == before
        one.mount(mount)
        assert one.download("/m/a.txt") == b"a"
        assert [entry.path for entry in one.list_files("/m/sub")] == [
            "/m/sub/b.bin",
            "/m/sub/empty",
        ]


CHANGES = {
    "python": [
        "open('/m/a.txt', 'w')",
        "open('/m/new', 'w')",
        "open('/m/inner', 'w')",
        "import os; os.remove('/m/a.txt')",
        "import os; os.rename('/m/a.txt', '/m/c.txt')",
        "import os; os.rename('/m/a.txt', '/c.txt')",
        "import os; os.rename('/m', '/n')",
        "import os; open('/x', 'w').close(); os.rename('/x', '/m/a.txt')",
        "import os; os.mkdir('/m/d')",
        "import os; os.rmdir('/m/sub/empty')",
        "import os; os.symlink('/x', '/m/l')",
        "import os; os.link('/m/a.txt', '/linked')",
        "import os; os.truncate('/m/a.txt', 0)",
        "import os; os.unlink('/m/inner')",
        "import shutil; shutil.rmtree('/m')",
    ],
    "javascript": [
        "require('fs').writeFileSync('/m/a.txt', '')",
        "require('fs').appendFileSync('/m/new', '')",
        "require('fs').unlinkSync('/m/a.txt')",
        "require('fs').renameSync('/m/a.txt', '/c.txt')",
        "require('fs').renameSync('/m', '/n')",
        "require('fs').mkdirSync('/m/d')",
        "require('fs').symlinkSync('/x', '/m/l')",
        "require('fs').truncateSync('/m/a.txt')",
        "require('fs').rmSync('/m', { recursive: true })",
    ],
}


@both
def test_nothing_changes_a_read_only_mount(store, folder, language):
    """Every way that a program has ends in an error that it sees; the mount is as it was."""
    with Session.create(language, mounts=[Mount(host=str(folder), guest="/m")], store=store) as one:
        before = one.list_files("/", recursive=True)
        for change in CHANGES[language]:
            with pytest.raises(RuntimeFailedError, match=r"(?i)not permitted|permission|EPERM"):
                one.run(change)
        after = [entry for entry in one.list_files("/", recursive=True) if entry.path != "/x"]
        assert after == before
        assert one.download("/m/a.txt") == b"a"


def test_links_lead_below_the_sessions_root(store, folder):
    """What a link of the host says means something else in the session."""
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("../../../../..")
    with Session.create("python", mounts=[Mount(host=str(folder), guest="/m")], store=store) as one:
        with pytest.raises(FileAccessError, match="no such file"):
            one.download("/m/passwd")
        printed = one.run("import os; print(sorted(os.listdir('/m/up')))").run.stdout
        assert printed == "['m']\n"


def test_where_something_is_already(store, folder):
    """Nothing is hidden by a mount; an empty directory may be used."""
    with Session.create("python", store=store) as one:
        one.write_file("/d/own.txt", b"own")
        one.run("import os; os.mkdir('/e'); os.symlink('/d', '/l')")
        for guest in ("/d", "/d/own.txt", "/"):
            with pytest.raises(FileAccessError, match="something already"):
                one.mount(Mount(host=str(folder), guest=guest))
        with pytest.raises(FileAccessError):
            one.mount(Mount(host=str(folder), guest="/l"))
        one.mount(Mount(host=str(folder), guest="/e"))
        assert one.download("/e/a.txt") == b"a"
        assert one.download("/d/own.txt") == b"own"


def test_a_mount_that_does_not_fit_changes_nothing(store, folder):
    """Quotas of the session's files hold for mounts too."""
    (folder / "big").write_bytes(bytes(700_000))
    limits = Limits().replace(
        {"guests": {"files_limit_bytes": 1 << 20, "file_limit_bytes": 1 << 20}}
    )
    with Session.create("python", limits=limits, store=store) as one:
        one.write_file("/own.txt", bytes(500_000))
        with pytest.raises(FileAccessError, match="would exceed"):
            one.mount(Mount(host=str(folder), guest="/m"))
        assert [entry.path for entry in one.list_files()] == ["/own.txt"]
        assert len(one.history()) == 1
        one.remove("/own.txt")
        one.mount(Mount(host=str(folder), guest="/m"))
        one.mount(Mount(host=str(folder), guest="/m"))  # the old picture makes room
        assert [type(step.operation) for step in one.history()][-2:] == [Mounted, Mounted]


def test_mounts_travel(store, folder):
    """An archive holds them, a revert undoes them, an update repeats them."""
    mount = Mount(host=str(folder), guest="/m", mode="overlay")
    with Session.create("python", mounts=[mount], store=store) as one:
        one.run(APPEND["python"])
        archive = one.export()
        one.revert(to=0)
        assert one.list_files() == []
    with Session.import_(archive, store=store) as copy:
        assert copy.download("/m/a.txt") == b"ab"
        copy.update("python+numpy")
        assert copy.download("/m/a.txt") == b"ab"
        copy.revert(last=1)
        assert copy.download("/m/a.txt") == b"a"
