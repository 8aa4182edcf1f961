"""Helper of the command line tests: `cloche web serve` in a process of its own."""

from __future__ import annotations

import signal
import ssl
import subprocess
import urllib.error
import urllib.request

from tests.cli.support import START, environment


class Served:
    """A server in a process of its own."""

    def __init__(self, folder, *arguments):
        self._process = subprocess.Popen(
            [*START, "web", "serve", *arguments, "--bind", "127.0.0.1:0"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self):
        line = self._process.stdout.readline().decode()
        assert line.startswith("serving on "), self._process.stderr.read().decode()
        self.url = line.removeprefix("serving on ").strip()
        return self

    def __exit__(self, *failure):
        self._process.send_signal(signal.SIGTERM)
        self.stderr = self._process.communicate(timeout=60)[1].decode()
        self.exit_code = self._process.returncode

    def get(self, target="/", **headers):
        """Return the status, the fields and the body of a page."""
        request = urllib.request.Request(self.url + target, headers=headers)
        context = ssl._create_unverified_context() if self.url.startswith("https") else None
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as found:
                return found.status, found.headers, found.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers, refused.read()
