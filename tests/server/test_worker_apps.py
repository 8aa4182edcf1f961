"""Apps whose code runs in real worker processes: what they answer, what they may not, their end."""

from __future__ import annotations

import pytest
from tests.apps.support import ask, parts

from cloche.apps.adapters.host import AppHost
from cloche.apps.adapters.instances import AppInstances
from cloche.exec.adapters.runner import Runner
from cloche.exec.api import default_runner
from cloche.server.adapters.processes import Processes
from cloche.server.adapters.remote import WorkerRunner
from cloche.server.adapters.remote_apps import RemoteApps

from .test_workers import LIMITS, start_frame

WAIT_S = 30
HELLO = "export default (request) => new Response('hello ' + new URL(request.url).pathname)"
COUNT = "let n = 0; export default () => new Response(`${n += 1}`)"


@pytest.fixture(scope="module")
def workers():
    """A runner with one worker."""
    images = default_runner().images
    for name in ("javascript", "python"):
        images.get(name)
    processes = Processes(LIMITS, count=1, start=start_frame(), log=lambda _record: None)
    processes.start()
    yield WorkerRunner(images, processes, LIMITS)
    processes.stop()


@pytest.fixture(scope="module")
def host(workers):
    """A host whose guests are in the worker."""
    return AppHost(workers, LIMITS, guests=RemoteApps(workers))


def local():
    """Return a host whose guests are in this process."""
    runner = Runner(default_runner().images)
    return AppHost(runner, LIMITS, guests=AppInstances(runner, LIMITS))


def built(host, code, **manifest):
    """Return a version of this code."""
    return host.build(*parts(code, **manifest))


@pytest.mark.parametrize("instances", ["fresh", "warm"])
def test_answers(host, instances):
    """An app answers from a worker as it does from this process, and has the same image."""
    app = built(host, HELLO, instances=instances)
    assert ask(app, on=host).text == ask(built(local(), HELLO, instances=instances)).text
    assert app.image.id == built(local(), HELLO, instances=instances).image.id
