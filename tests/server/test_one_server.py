"""One server at a time on a store that is a file."""

from __future__ import annotations

import os

import pytest
from tests.cli.support import cloche

from cloche.server.adapters.one_server import only_server
from cloche.server.errors import ServeError

from .process import serving


def test_one_at_a_time(tmp_path):
    """A second one is refused and told which process has the store; afterwards it is free."""
    url = str(tmp_path / "s.db")
    with only_server(url):
        with pytest.raises(ServeError) as caught, only_server(url):
            pass
        assert caught.value.message == (
            f"the store {url} is served already, by process {os.getpid()}; stop that, or name "
            "another --store"
        )
        with only_server(str(tmp_path / "other.db")):
            pass
    with only_server(url):
        pass
    assert (tmp_path / "s.db-serve").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["memory:", "postgresql://localhost/x"])
def test_what_is_no_file(url):
    """There is nothing to lock."""
    with only_server(url), only_server(url):
        pass


def test_where_no_file_can_be(tmp_path):
    """It is said which one."""
    path = str(tmp_path / "nowhere" / "s.db")
    with (
        pytest.raises(ServeError, match=r"cannot open .*s\.db-serve: No such file"),
        only_server(path),
    ):
        pass


def test_a_second_server(tmp_path):
    """It exits with 2 and takes nothing up; after SIGKILL the next one starts at once."""
    with serving(tmp_path, "--workers", "0") as first:
        second = cloche("serve", "--bind", "127.0.0.1:0", "--store", str(tmp_path / "s.db"))
        assert (second.exit_code, second.stdout) == (2, "")
        assert f"is served already, by process {first.process.pid}" in second.stderr
        first.kill()
    with serving(tmp_path, "--workers", "1") as third:
        third.kill()
    with serving(tmp_path, "--workers", "0") as fourth:
        assert fourth.stop() == 0
