"""A real server: `cloche serve` as a process of its own, on a port of its own."""

from __future__ import annotations

import re
import signal
import subprocess
from base64 import b64encode
from contextlib import contextmanager

from tests.cli.support import START, environment

from cloche.client.synchronous import Client

STOP_S = 90  # longer than a server may drain
GUEST_MS = 60_000  # of a program that ends by itself, on a machine that has other things to do
SECRETS_KEY = b64encode(bytes(32)).decode()
FIRST_KEY = re.compile(r"admin key, shown once: (clk_\S+)")
ADDRESS = re.compile(r"cloche serves (https?://\S+), pages at")


class Serving:
    """A server that runs.

    Args:
        folder: where its store and its keys are.
        options: of the command.
        is_placed: whether the options say where its store is and its address; else the file does.
        start: the command.
        settings: of the environment.
    """

    def __init__(self, folder, *options, is_placed=True, start=START, **settings):
        own = {
            "CLOCHE_KEY_FILE": str(folder / "key"),
            "CLOCHE_SECRET_KEY": SECRETS_KEY,
            "CLOCHE_GUESTS_TIMEOUT_MS": str(GUEST_MS),
        }
        env = environment(**{**own, **settings})
        place = ["--bind", "127.0.0.1:0", "--store", str(folder / "s.db")] if is_placed else []
        with (folder / "stderr.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                [*start, "serve", *place, *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=env,
                text=True,
            )
        self.lines = []
        self.key = None
        for line in self.process.stdout:
            self.lines.append(line)
            if match := FIRST_KEY.match(line):
                self.key = match[1]
            if match := ADDRESS.match(line):
                self.url = match[1]
                return
        raise AssertionError(f"it ended: {self.lines} {(folder / 'stderr.txt').read_text()}")

    def client(self, key=None, **options):
        """Return a client."""
        return Client(self.url, key or self.key, **options)

    def kill(self):
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(STOP_S)
        self.process.stdout.close()

    def stop(self, number=signal.SIGTERM):
        """Ask it to end; return its exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        """Return its exit code when it has ended."""
        code = self.process.wait(STOP_S)
        self.lines += self.process.stdout.readlines()
        self.process.stdout.close()
        return code


@contextmanager
def serving(folder, *options, **settings):
    """Serve for a while."""
    found = Serving(folder, *options, **settings)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.kill()
