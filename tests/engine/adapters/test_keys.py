"""The key of snapshots: one for every process, in a file that nobody else could touch."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cloche.engine.adapters import keys
from cloche.engine.adapters.keys import default_path, load_key
from cloche.engine.errors import KeyFileError

WAIT_THEN_LOAD = """
import sys
from pathlib import Path
from cloche.engine.adapters.keys import load_key
print("ready", flush=True)
sys.stdin.readline()
print(load_key(Path(sys.argv[1])).hex())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a key is to be."""
    return tmp_path / "data" / "cloche" / "snapshot.key"


def refusal(path: Path) -> str:
    """Return what the refusal of a key file says."""
    with pytest.raises(KeyFileError) as caught:
        load_key(path)
    assert caught.value.fields == {"path": str(path)}
    return caught.value.message


def test_made_once(path: Path) -> None:
    """The first call makes 32 random bytes, later ones return the same."""
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key == path.read_bytes()
    assert load_key(path.with_name("other.key")) != key


def test_closed_to_others(path: Path) -> None:
    """The file has mode 0600 and its folder 0700, whatever the mask; nothing else is left."""
    before = os.umask(0)
    try:
        load_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["snapshot.key"]


def test_processes_agree(path: Path) -> None:
    """Processes that start at the same time get one key."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WAIT_THEN_LOAD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    found = {process.communicate("go\n")[0] for process in processes}
    assert found == {f"{path.read_bytes().hex()}\n"}


def test_losing_the_race_gives_the_winners_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the file made while making one takes what is there."""
    make, barrier, found = keys._make, threading.Barrier(4), []

    def make_together(path: Path) -> None:
        barrier.wait()
        make(path)

    monkeypatch.setattr(keys, "_make", make_together)
    threads = [threading.Thread(target=lambda: found.append(load_key(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [path.read_bytes()] * 4
    assert [found.name for found in path.parent.iterdir()] == ["snapshot.key"]


def test_interrupted_making_leaves_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure before the key is whole leaves nothing that a later call would take for one."""

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert "No space left on device" in refusal(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o610])
def test_open_to_others_is_refused(path: Path, mode: int) -> None:
    """A key that anybody else can read, write or run is refused and left as it is."""
    load_key(path)
    path.chmod(mode)
    assert refusal(path) == (
        f"{path} can be used by other users (mode {mode:o}, expected 600), so the snapshots that "
        "it signed prove nothing. Remove it (its snapshots can then not be opened any more), or "
        "run chmod 600 on it if nobody else could reach it"
    )
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_read_only_is_fine(path: Path) -> None:
    """A key that even its owner cannot write is as good."""
    key = load_key(path)
    path.chmod(0o400)
    assert load_key(path) == key


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_foreign_owner_is_refused(path: Path) -> None:
    """A key of another user is refused."""
    load_key(path)
    os.chown(path, 12345, -1)
    assert refusal(path) == (
        f"{path} belongs to user 12345, not to user {os.geteuid()}, who runs cloche; name a file "
        "of your own in CLOCHE_KEY_FILE"
    )


@pytest.mark.parametrize("size", [0, 31, 33, 100_000])
def test_wrong_size_is_refused(path: Path, size: int) -> None:
    """A file that does not hold exactly one key is refused, not replaced."""
    load_key(path)
    path.write_bytes(bytes(size))
    assert refusal(path).startswith(f"{path} has {size} bytes, a key has 32; restore it")
    assert path.stat().st_size == size


def test_link_is_refused(path: Path) -> None:
    """A symbolic link is not followed, not even to a good key."""
    load_key(path)
    link = path.with_name("link.key")
    link.symlink_to(path)
    assert refusal(link).startswith(f"cannot use the key file {link}: Too many levels")


def test_pipe_is_refused(path: Path) -> None:
    """A pipe is refused at once; nothing waits for who might write into it."""
    path.parent.mkdir(parents=True)
    os.mkfifo(path, 0o600)
    assert refusal(path) == f"{path} is not a file; name another in CLOCHE_KEY_FILE"


def test_folder_in_the_way(path: Path) -> None:
    """A file where the folder should be is an error that says so."""
    path.parent.parent.mkdir()
    path.parent.write_text("")
    assert refusal(path) == (
        f"cannot use the key file {path}: Not a directory; name another in CLOCHE_KEY_FILE"
    )


def test_environment_names_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCHE_KEY_FILE wins over the data folder; empty counts as not set."""
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    monkeypatch.setenv("CLOCHE_KEY_FILE", "")
    assert default_path() == Path("/somewhere/cloche/snapshot.key")
    monkeypatch.setenv("CLOCHE_KEY_FILE", str(path))
    assert default_path() == path
    assert load_key() == path.read_bytes()


def test_error_pickles() -> None:
    """The error survives the way between processes."""
    error = pickle.loads(pickle.dumps(KeyFileError("no", Path("/k"))))
    assert (error.message, error.path, error.code) == ("no", "/k", "KEY_UNUSABLE")
