"""The versions of apps that a worker has: what a run of one prints, and when one goes."""

from __future__ import annotations

import os

import msgspec
import pytest
from tests.apps.support import ask

from cloche.apps.adapters.host import AppHost
from cloche.apps.adapters.instances import AppInstances
from cloche.egress.secrets import Secret
from cloche.engine.adapters.handout import hand_out
from cloche.errors import InternalError
from cloche.exec.api import default_runner
from cloche.server import worker_frames as frames
from cloche.server.adapters.remote import WorkerRunner
from cloche.server.adapters.remote_apps import RemoteApps
from cloche.server.worker import JobRunner
from cloche.server.worker_apps import WorkerApps
from cloche.server.worker_job import Job, Streams

from .test_remote_apps import FAULT, Worker
from .test_worker_app_effects import Server
from .test_worker_apps import built, local
from .test_workers import LIMITS

PRINTS = "export default () => { console.log('it is hidden-value'); return new Response('x') }"


@pytest.fixture
def version():
    """Return the apps of a worker that has one version, and the frame of a run of that."""
    here, server, images = local(), Worker(FAULT), default_runner().images
    app = built(here, PRINTS)
    runner = WorkerRunner(images, server, LIMITS)
    with pytest.raises(InternalError):
        ask(app, on=AppHost(runner, LIMITS, guests=RemoteApps(runner)))
    (hold,), (run,) = server.of(frames.HoldApp), server.of(frames.RunApp)
    handout, apps = hand_out(app.image), WorkerApps(JobRunner(images, pool_size=0), LIMITS)
    apps.hold(hold, os.dup(handout.memory), os.dup(handout.content))
    yield apps, run
    here.close()


def printed(apps, run):
    """Let a version answer; return what it printed."""
    server = Server()
    job, streams = Job(server, 1), Streams(server)
    server.job = job
    execution, _ = apps.run(run, job, streams)
    assert execution.error is None
    return b"".join(data for stream, data in streams.end(job) if stream == "stdout")


def test_secrets(version):
    """Those that come with a run are taken out of what it prints, and of no other run."""
    apps, run = version
    secret = Secret(name="KEY", value="hidden-value", domains=("a.example",), inject_as="bearer")
    hiding = msgspec.structs.replace(run, secrets=msgspec.json.encode([secret]))
    assert b"hidden-value" not in printed(apps, hiding)
    assert printed(apps, run) == b"it is hidden-value\n"


def test_dropped(version, monkeypatch):
    """A version that was used and is dropped keeps no instances; nothing runs of it any more."""
    apps, run = version
    released, release = [], AppInstances.release
    monkeypatch.setattr(
        AppInstances, "release", lambda own, image: (released.append(image.id), release(own, image))
    )
    printed(apps, run)
    apps.drop(run.app)
    apps.drop(run.app)
    assert len(released) == 1
    with pytest.raises(InternalError, match="has no app"):
        printed(apps, run)
