"""The cache folder: whole files, made once, closed to everybody else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cloche.engine.adapters.cache import Cache, default_root, digest_of
from cloche.engine.errors import CacheError, CompileLockError

NAME = "modules/a.cwasm"

HALF_A_FILE = """
import sys
from pathlib import Path
from cloche.engine.adapters.cache import Cache

def write(path):
    with path.open("wb") as file:
        file.write(b"half")
        file.flush()
        print("half written", flush=True)
        sys.stdin.readline()

Cache(Path(sys.argv[1]), lock_timeout_ms=60_000).make("modules/a.cwasm", write)
"""
COUNTED = """
import sys
from pathlib import Path
from cloche.engine.adapters.cache import Cache

def write(path):
    with Path(sys.argv[2]).open("a") as log:
        log.write("made\\n")
    path.write_bytes(b"whole" * 100_000)

print("ready", flush=True)
sys.stdin.readline()
path = Cache(Path(sys.argv[1]), lock_timeout_ms=60_000).make("modules/a.cwasm", write)
print(len(path.read_bytes()))
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Return an empty cache that gives up waiting at once."""
    return Cache(tmp_path / "cache", lock_timeout_ms=0)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that talks in lines, and wait for its first."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def writer(content: bytes):
    """Return a function that writes `content`."""
    return lambda path: path.write_bytes(content)


def never(_path: Path) -> None:
    """Fail where nothing should be made."""
    raise AssertionError("made again")


def test_made_once(cache: Cache) -> None:
    """The first call writes, later ones find; only the file and its lock are left."""
    assert cache.find(NAME) is None
    path = cache.make(NAME, writer(b"one"))
    assert path == cache.find(NAME) == cache.make(NAME, never)
    assert path.read_bytes() == b"one"
    assert sorted(found.name for found in path.parent.iterdir()) == [".a.cwasm.lock", "a.cwasm"]


@pytest.mark.parametrize("mask", [0, 0o002, 0o022, 0o077])
def test_closed_to_others_under_any_mask(cache: Cache, mask: int) -> None:
    """Every folder is 0700 and every file 0400, whatever the mask of the process."""
    before = os.umask(mask)
    try:
        path = cache.make(NAME, writer(b"one"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    for folder in (cache.root.parent, cache.root, path.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cache.find(NAME) == path


@pytest.mark.parametrize("mode", [0o420, 0o402, 0o666])
def test_writable_file_is_refused(cache: Cache, mode: int) -> None:
    """A file that others can write is neither found nor made again."""
    path = cache.make(NAME, writer(b"one"))
    path.chmod(mode)
    for attempt in (cache.find, lambda name: cache.make(name, never)):
        with pytest.raises(CacheError) as caught:
            attempt(NAME)
        assert caught.value.message == (
            f"{path} can be written by other users (mode {mode:o}); it holds native code, so "
            "cloche will not load it. Remove it, or run chmod go-w on it"
        )


@pytest.mark.parametrize("level", ["root", "folder"])
def test_writable_folder_is_refused(cache: Cache, level: str) -> None:
    """Who can write the folder can replace the file, so the folder is looked at each time too."""
    path = cache.make(NAME, writer(b"one"))
    folder = cache.root if level == "root" else path.parent
    folder.chmod(0o770)
    with pytest.raises(CacheError, match=r"can be written by other users \(mode 770\)"):
        cache.find(NAME)
    with pytest.raises(CacheError, match=r"can be written by other users \(mode 770\)"):
        cache.make("modules/b.cwasm", never)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_foreign_owner_is_refused(cache: Cache, what: str) -> None:
    """A file, or a folder, of another user is not used."""
    path = cache.make(NAME, writer(b"one"))
    foreign = path if what == "file" else path.parent
    os.chown(foreign, 12345, -1)
    with pytest.raises(CacheError) as caught:
        cache.find(NAME)
    assert caught.value.message.startswith(f"{foreign} belongs to another user or is a link;")


def test_link_is_refused(cache: Cache, tmp_path: Path) -> None:
    """A link in the place of a file is not followed."""
    path = cache.make(NAME, writer(b"one"))
    moved = path.rename(tmp_path / "moved")
    path.symlink_to(moved)
    with pytest.raises(CacheError, match="belongs to another user or is a link"):
        cache.find(NAME)


def test_killed_writer_leaves_nothing_that_is_used(cache: Cache) -> None:
    """After SIGKILL in the middle of a write the next process makes the file whole."""
    process = start(HALF_A_FILE, cache.root.parent)
    assert cache.find(NAME) is None
    with pytest.raises(CompileLockError) as caught:
        cache.make(NAME, never)
    assert caught.value.retryable
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert cache.find(NAME) is None
    left = cache.path("modules/.a.cwasm.tmp")
    assert left.read_bytes() == b"half"
    path = cache.make(NAME, writer(b"whole"))
    assert path.read_bytes() == b"whole"
    assert not left.exists()


def test_processes_make_it_once(cache: Cache, tmp_path: Path) -> None:
    """Of processes that want the same file at the same time one makes it."""
    log = tmp_path / "log"
    processes = [start(COUNTED, cache.root.parent, log) for _ in range(3)]
    assert [process.communicate("go\n")[0] for process in processes] == ["500000\n"] * 3
    assert log.read_text() == "made\n"


def test_threads_make_it_once(tmp_path: Path) -> None:
    """The lock holds between threads of one process too."""
    made, cache = [], Cache(tmp_path, lock_timeout_ms=60_000)

    def write(path: Path) -> None:
        made.append(path)
        path.write_bytes(b"one")

    threads = [threading.Thread(target=cache.make, args=(NAME, write)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_failed_write_leaves_nothing(cache: Cache) -> None:
    """When writing fails the error says what to do, and the next attempt starts afresh."""

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(CacheError) as caught:
        cache.make(NAME, fail)
    path = cache.path(NAME)
    assert caught.value.message == (
        f"cannot write {path}: No space left on device. The cache needs about 1.5 GB; free some "
        "space, or set XDG_CACHE_HOME to a folder that has it"
    )
    assert [found.name for found in path.parent.iterdir()] == [".a.cwasm.lock"]
    assert cache.make(NAME, writer(b"one")).read_bytes() == b"one"


def test_other_failures_pass_and_free_the_lock(cache: Cache) -> None:
    """What the maker itself raises is not renamed, and the lock is free afterwards."""

    def fail(_path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.make(NAME, fail)
    assert cache.make(NAME, writer(b"one")).read_bytes() == b"one"


def test_folder_in_the_way(tmp_path: Path) -> None:
    """A file where the folder should be is an error with its path."""
    (tmp_path / "cache").write_text("")
    cache = Cache(tmp_path / "cache", lock_timeout_ms=0)
    with pytest.raises(CacheError, match=r"Not a directory|File exists"):
        cache.make(NAME, never)
    with pytest.raises(CacheError, match="Not a directory"):
        cache.find(NAME)


def test_digest_follows_the_content(cache: Cache, tmp_path: Path) -> None:
    """The digest of a file is remembered, and taken again when the file changes."""
    source = tmp_path / "big"
    source.write_bytes(b"one")
    first = cache.digest(source)
    assert first == digest_of(source) == cache.digest(source)
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    source.write_bytes(b"four")
    assert cache.digest(source) == digest_of(source) != first


def test_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is where XDG_CACHE_HOME says."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_root() == Path("/somewhere/cloche")


def test_pruning(tmp_path):
    """What is not kept goes, with its bytes counted; digests, and what is being made, stay."""
    cache = Cache(tmp_path, lock_timeout_ms=1000)
    for name in ("modules/a.cwasm", "modules/b.cwasm", "images/c.mem"):
        cache.make(name, lambda path: path.write_bytes(bytes(8192)))
    cache.digest(tmp_path / "v1" / "images" / "c.mem")
    half = tmp_path / "v1" / "images" / ".d.mem.tmp"
    half.write_bytes(b"half")
    count, size_bytes = cache.prune({"modules/a.cwasm"})
    assert (count, size_bytes >= 2 * 8192) == (2, True)
    assert cache.find("modules/a.cwasm")
    assert not cache.find("modules/b.cwasm")
    assert half.exists()
    assert list((tmp_path / "v1" / "digests").glob("[!.]*"))
    assert cache.prune({"modules/a.cwasm"}) == (0, 0)
    assert Cache(tmp_path / "nothing", lock_timeout_ms=1000).prune(set()) == (0, 0)
