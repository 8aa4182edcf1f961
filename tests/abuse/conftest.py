"""What attacks on a running server share."""

from __future__ import annotations

import pytest
from tests.server.process import serving


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A real server, for all attacks that need one."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder) as found:
        found.folder = folder
        yield found
