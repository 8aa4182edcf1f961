"""What the server says of apps to a worker, which versions it lets it have, what it tries again."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.api import default_runner
from cloche.exec.errors import WorkerLostError, WorkersStoppedError
from cloche.gate.policy import Policy
from cloche.server import worker_frames as frames
from cloche.server.adapters.processes import HeldApps
from cloche.server.adapters.remote import WorkerRunner
from cloche.server.adapters.remote_apps import RemoteApps

from .test_worker_apps import HELLO, TWO_APPS, built, local
from .test_workers import asked

FAULT = frames.Done(job=1, is_fault=True)  # an end that says nothing more
PIECE = frames.Output(job=1, stream="stdout", data=b"piece")
REQUEST = asked("1", language="javascript", policy=Policy.allow(app=["respond"]))


class Worker:
    """Hears what it is sent, and says the same of each run; is all the workers that there are."""

    def __init__(self, *says):
        self.says = says
        self.heard = []
        self.apps = HeldApps()
        self.is_condemned = False
        self.has_room = True
        self.lost = WorkerLostError("it ended")

    def pick(self):
        return self

    pick_now = pick

    def all(self):
        return [self]

    def open(self, box):
        self.box = box
        return 1

    def close(self, job):
        """Nothing to do."""

    def send(self, frame):
        self.heard.append(frame)
        if isinstance(frame, frames.RunApp):
            for each in self.says:
                self.box.put(each)

    def send_with(self, frame, _descriptors):
        self.send(frame)

    def send_now(self, frame):
        if self.has_room:
            self.send(frame)
        return self.has_room

    def loss(self):
        return self.lost

    def of(self, kind):
        """Return the frames of a kind that it heard."""
        return [frame for frame in self.heard if isinstance(frame, kind)]

    def dropped(self):
        """Return the apps that it was told to let go of, when nobody is about to tell it more."""
        for thread in threading.enumerate():
            if thread.name == "cloche-drop":
                thread.join()
        return [frame.app for frame in self.of(frames.DropApp)]


@pytest.fixture(scope="module")
def images():
    """The images of three versions."""
    here = local()
    apps = [built(here, f"{HELLO} // {number}") for number in range(3)]
    yield [app.image for app in apps]
    here.close()


def guests(worker):
    """Return the guests of apps that are in this worker, which has two at most."""
    return RemoteApps(WorkerRunner(default_runner().images, worker, TWO_APPS))


def execute(apps, image, request=REQUEST):
    """Let a version answer; return how that ended."""
    with pytest.raises(Exception) as caught:
        apps.execute(image, request)
    return caught.value


def begin(apps, image, request=REQUEST):
    """Let a version answer without waiting; return whether that was begun, and the ends."""
    ends = []
    is_begun = apps.begin(
        image, request, lambda _execution, error: ends.append(error), lambda act: act(),
        handlers={}, on_output=None, sink=None, cancel=CancelToken(), run_id="r", wanted=None,
    )  # fmt: skip
    return is_begun, ends


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    ("says", "changes", "count"),
    [
        ([None], {}, 2),
        ([PIECE, None], {}, 1),
        ([None], {"is_condemned": True}, 1),
        ([None], {"lost": WorkersStoppedError()}, 1),
    ],
    ids=["it did nothing", "it said something", "it was ended for it", "the server stops"],
)
def test_what_is_tried_again(images, waits, says, changes, count):
    """A run that was lost is tried once more where it did nothing and its worker ended itself."""
    worker = Worker(FAULT)
    apps = guests(worker)
    execute(apps, images[0])
    worker.heard, worker.says = [], says
    vars(worker).update(changes)
    if waits:
        error = execute(apps, images[0])
    else:
        _, (error,) = begin(apps, images[0])
    assert len(worker.of(frames.RunApp)) == count
    assert error is worker.lost
    assert set(worker.apps.uses.values()) == {0}


def test_what_is_said_of_a_request(images):
    """A request that has another environment, policy or state than its version is said whole."""
    worker = Worker(FAULT)
    apps = guests(worker)
    others = [
        {"env": {"A": "1"}},
        {"policy": Policy.allow(app=["respond", "log"])},
        {"state": "s"},
    ]
    for changes in ({}, {"seed": 2}, *others):
        execute(apps, images[0], dataclasses.replace(REQUEST, **changes))
    said = [frame.request for frame in worker.of(frames.RunApp)]
    assert [each is not None for each in said] == [False, False, True, True, True]
    assert dict(said[2].env) == {"A": "1"}


@pytest.mark.parametrize("why", ["input", "secrets", "new", "no room"])
def test_what_is_not_begun(images, why):
    """What would make who begins it wait is left to who may, and keeps no version."""
    worker, request = Worker(FAULT), REQUEST
    apps = guests(worker)
    if why != "new":
        execute(apps, images[0])
    if why == "input":
        request = dataclasses.replace(REQUEST, stdin=b"x" * ((1 << 16) + 1))
    if why == "secrets":
        net = {"allow": ["a.example"], "secrets": ["KEY"]}
        request = dataclasses.replace(REQUEST, policy=Policy.from_document({"net": net}))
    worker.has_room = why != "no room"
    worker.heard = []
    assert begin(apps, images[0], request) == (False, [])
    assert worker.heard == []
    assert set(worker.apps.uses.values()) <= {0}


def test_begun(images):
    """The largest input that is sent at once is begun with."""
    worker = Worker(FAULT)
    apps = guests(worker)
    execute(apps, images[0])
    request = dataclasses.replace(REQUEST, stdin=b"x" * (1 << 16))
    is_begun, ends = begin(apps, images[0], request)
    assert is_begun
    assert len(ends) == 1


@pytest.mark.parametrize("again", [execute, begin])
def test_those_used_last_stay(images, again):
    """Of more versions than a worker may have, the one that was asked longest ago goes."""
    worker = Worker(FAULT)
    apps = guests(worker)
    execute(apps, images[0])
    execute(apps, images[1])
    again(apps, images[0])
    execute(apps, images[2])
    first, second, third = [frame.app for frame in worker.of(frames.HoldApp)]
    assert worker.dropped() == [second]
    assert list(worker.apps.uses) == [first, third]


def test_those_that_run_stay(images):
    """A version that is answering is not dropped, however many others are asked."""
    worker = Worker(FAULT)
    apps = guests(worker)
    execute(apps, images[0])
    worker.says = ()
    begin(apps, images[0])
    box, worker.says = worker.box, [FAULT]
    execute(apps, images[1])
    execute(apps, images[2])
    first, second, third = [frame.app for frame in worker.of(frames.HoldApp)]
    assert worker.dropped() == [second]
    assert first in worker.apps.uses
    box.put(FAULT)
    assert worker.apps.uses[first] == 0
    assert third in worker.apps.uses


def test_released_while_it_runs(images):
    """A version that is released goes when its last run is over, not before."""
    worker = Worker(FAULT)
    apps = guests(worker)
    execute(apps, images[0])
    worker.says, boxes = (), []
    for _ in range(2):
        begin(apps, images[0])
        boxes.append(worker.box)
    apps.release(images[0])
    (held,) = [frame.app for frame in worker.of(frames.HoldApp)]
    assert worker.dropped() == []
    boxes[0].put(FAULT)
    assert worker.dropped() == []
    boxes[1].put(FAULT)
    assert worker.dropped() == [held]
    assert not worker.apps.uses


def test_released_and_wanted_again(images):
    """A version that is wanted again stays at hand when a run of it is over."""
    worker = Worker(FAULT)
    apps = guests(worker)
    apps.release(images[0])
    execute(apps, images[0])
    assert len(worker.dropped()) == 1, "it is asked late"
    apps.hold(images[0])
    execute(apps, images[0])
    assert len(worker.dropped()) == 1
    assert list(worker.apps.uses.values()) == [0]
