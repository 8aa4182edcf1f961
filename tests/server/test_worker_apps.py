"""Apps whose code runs in real worker processes: what they answer, what they may not, their end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest
from tests.apps.support import ask, parts

from cloche.apps.adapters.host import AppHost
from cloche.apps.adapters.instances import AppInstances
from cloche.apps.errors import BuildError, HandlerMissingError, TopLevelEffectError
from cloche.apps.messages import Collected
from cloche.exec.adapters.runner import Runner
from cloche.exec.api import default_runner
from cloche.exec.errors import WorkerLostError
from cloche.gate.journal import encode_file, load_journal
from cloche.gate.ports import EffectFailure
from cloche.server.adapters.processes import Processes
from cloche.server.adapters.remote import WorkerRunner
from cloche.server.adapters.remote_apps import RemoteApps

from .faults import settled
from .test_workers import LIMITS, Handler, Journal, start_frame

WAIT_S = 60
HELLO = "export default (request) => new Response('hello ' + new URL(request.url).pathname)"
COUNT = "let n = 0; export default () => new Response(`${n += 1}`)"
ASKS = "export default async (_, env) => new Response(String(await env.kv.get('a')))"
PYTHON_ASKS = "from cloche_app import kv\ndef handle(request):\n    return str(kv.get('a'))\n"
TWO_APPS = LIMITS.replace({"server": {"worker_app_count_max": 2}})


def running(limits):
    """Return a runner with one worker that is told these limits."""
    images = default_runner().images
    for name in ("javascript", "python"):
        images.get(name)
    processes = Processes(limits, count=1, start=start_frame(), log=lambda _record: None)
    processes.start()
    return WorkerRunner(images, processes, limits)


@pytest.fixture(scope="module")
def workers():
    """A runner with one worker, which has two apps at hand."""
    runner = running(TWO_APPS)
    yield runner
    runner.processes.stop()


@pytest.fixture
def host(workers):
    """A host whose guests are in the worker."""
    return AppHost(workers, LIMITS, guests=RemoteApps(workers))


def local():
    """Return a host whose guests are in this process."""
    runner = Runner(default_runner().images)
    return AppHost(runner, LIMITS, guests=AppInstances(runner, LIMITS))


def built(host, code, language="javascript", **manifest):
    """Return a version of this code."""
    return host.build(*parts(code, language, **manifest))


def process_of(workers):
    """Return the worker, when there is one."""
    return workers.processes.pick()


def end(workers):
    """End the worker, and wait until that is known."""
    process = process_of(workers)
    os.kill(process.pid, signal.SIGKILL)
    pause = threading.Event()
    while not process.is_lost:
        pause.wait(0.01)


def kept_in(workers):
    """Return how many apps the worker has at hand."""
    return len(process_of(workers).apps.uses)


# --- the same as here ---


@pytest.mark.parametrize("instances", ["fresh", "warm"])
@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", HELLO),
        ("python", "def handle(request):\n    print('seen')\n    return 'hello ' + request.path"),
    ],
)
def test_the_same_as_here(host, language, code, instances):
    """An app has the same image, answer, output and hash there as in this process."""
    here = local()
    there, own = (built(each, code, language, instances=instances) for each in (host, here))
    assert there.image.id == own.image.id
    found, expected = ask(there, "/a", on=host), ask(own, "/a", on=here)
    assert found.text == expected.text == "hello /a"
    assert found.printed == expected.printed
    assert found.reply.lines == expected.reply.lines
    here.close()


def test_no_guest_runs_here(host, monkeypatch):
    """Neither the top level nor a request of an app gets an instance in this process."""

    def refuse(*_args, **_options):
        raise AssertionError("a guest runs in the process of the server")

    monkeypatch.setattr("cloche.engine.adapters.instance.Instance.turn", refuse)
    app = built(host, HELLO)
    assert ask(app, on=host).text == "hello /"
    assert (
        host.restore(*parts(HELLO), None, app.keep(bytes(32)), bytes(32)).image.id == app.image.id
    )


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        ("throw new Error('broken')", BuildError, "broken"),
        ("await fetch('http://x/')", TopLevelEffectError, "may ask for nothing"),
        ("export const a = 1", HandlerMissingError, "has no handler"),
    ],
)
def test_what_cannot_be_evaluated(host, code, error, told):
    """What is wrong with a top level is told as it is here."""
    for each in (host, local()):
        with pytest.raises(error, match=told):
            built(each, code, policy={"net": {"allow": ["x"]}} if "fetch" in code else {})


@pytest.mark.parametrize(("language", "code"), [("javascript", ASKS), ("python", PYTHON_ASKS)])
def test_effects(host, language, code):
    """What an app asks of its storage is performed here, and a failure is the app's to see."""
    handler = Handler(lambda _request: {"found": True, "value": 7})
    app = built(host, code, language, storage=["kv"])
    asked = ask(app, on=host, handlers={"kv": handler}, run_id="r")
    assert handler.seen[0][0] == "kv"
    assert handler.seen[0][3] == "r"
    assert asked.status == 200, asked.printed

    def fail(_request):
        raise EffectFailure("STORAGE_UNAVAILABLE", "not now")

    assert ask(app, on=host, handlers={"kv": Handler(fail)}).status == 500


def test_recorded_and_replayed(host):
    """The journal of a request is the one that it has here, and either process replays it."""
    here, code = local(), "export default () => new Response(`${Math.random()}`)"
    there, own = built(host, code), built(here, code)
    sink = Journal()
    asked = ask(there, on=host, record=sink)
    journal = load_journal(encode_file(sink.records), LIMITS)
    for app, each in ((there, host), (own, here)):
        execution, response = each.replay(app, journal)
        assert response.body.decode() == asked.text
        assert execution.journal_hash == asked.execution.journal_hash is not None


def test_only_failed_are_recorded(host):
    """A request that went well says nothing of its journal where nobody wants it."""
    code = """export default (request) => {
        if (request.url.endsWith("bad")) throw new Error("x");
        return new Response("well") }"""
    app = built(host, code)
    for path, is_kept in (("/", False), ("/bad", True)):
        sink = Journal()
        ask(app, path, on=host, record=sink, only_failed=True)
        assert bool(sink.records) == is_kept


# --- what is at hand ---


def test_few_are_at_hand(workers, host):
    """A worker has so many versions at hand; those used longest ago go, and come again."""
    apps = [built(host, HELLO.replace("hello", f"hello{n}")) for n in range(4)]
    for _ in range(2):
        for number, app in enumerate(apps):
            assert ask(app, on=host).text == f"hello{number} /"
            assert kept_in(workers) <= 2
    for app in apps:
        host.release(app)
    assert ask(apps[0], on=host).text == "hello0 /", "it is asked late"


def test_released(workers, host):
    """A version that nobody asks any more is dropped."""
    before = kept_in(workers)
    app = built(host, COUNT, instances="warm")
    assert [ask(app, on=host).text for _ in range(2)] == ["1", "2"]
    assert kept_in(workers) >= 1
    host.release(app)
    assert kept_in(workers) <= before


def test_two_apps_of_the_same_files(host):
    """Warm instances of one app answer for no other one, also where both begin alike."""
    one, other = (built(host, COUNT, instances="warm") for _ in range(2))
    assert one.image.id == other.image.id
    assert [ask(one, on=host).text for _ in range(3)] == ["1", "2", "3"]
    assert ask(other, on=host).text == "1"
    here = local()
    one, other = (built(here, COUNT, instances="warm") for _ in range(2))
    assert [ask(app, on=here).text for app in (one, one, other)] == ["1", "2", "1"]
    here.close()


# --- a worker that ends ---


def test_lost_between_requests(workers, host):
    """The next worker gets the version again; warm instances begin anew."""
    app = built(host, COUNT, instances="warm")
    assert [ask(app, on=host).text for _ in range(2)] == ["1", "2"]
    end(workers)
    assert ask(app, on=host).text == "1"


def test_lost_before_anything_was_asked(workers, host):
    """A request that did nothing is executed again, once."""
    app = built(host, HELLO)
    ask(app, on=host)
    first, texts = process_of(workers), []
    os.kill(first.pid, signal.SIGSTOP)  # whatever it is asked, it says nothing before its end
    thread = threading.Thread(target=lambda: texts.append(ask(app, on=host).text))
    thread.start()
    settled(lambda: first.load[0])
    os.kill(first.pid, signal.SIGKILL)
    thread.join()
    assert texts == ["hello /"]
    assert first.is_lost


def test_lost_twice(workers, host):
    """A request that ends every worker that has it ends two."""
    app = built(host, "export default () => { for (;;); }", limits={"timeout_ms": 100_000})
    pids, is_over = set(), threading.Event()

    def hunt():
        while not is_over.wait(0.02):
            for process in workers.processes.all():
                if process.load[0]:
                    pids.add(process.pid)
                    with contextlib.suppress(ProcessLookupError):  # that it is lost is known soon
                        os.kill(process.pid, signal.SIGKILL)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    reply = Collected()
    try:
        with pytest.raises(WorkerLostError):
            ask(app, on=host, reply=reply)
    finally:
        is_over.set()
        hunter.join()
    assert len(pids) == 2
    assert (reply.status, (b"retry-after", b"1") in reply.lines) == (503, True)
    assert b"WORKER_LOST" in reply.body


def test_lost_behind_an_effect(workers, host):
    """A request that asked for something is not executed again: its client is told."""
    pid, calls = process_of(workers).pid, []

    def act(_request):
        calls.append(1)
        os.kill(pid, signal.SIGKILL)
        return {"found": False}

    app, reply = built(host, ASKS, storage=["kv"]), Collected()
    pid = process_of(workers).pid
    with pytest.raises(WorkerLostError):
        ask(app, on=host, handlers={"kv": Handler(act)}, reply=reply)
    assert calls == [1]
    assert (reply.status, reply.is_aborted) == (503, False)


def test_lost_in_a_stream(workers, host):
    """A response that was begun is broken off."""
    code = """export default () => new Response(new ReadableStream({
        async pull(c) { c.enqueue("piece"); await new Promise((r) => setTimeout(r, 20)) } }))"""
    app, pids = built(host, code), [process_of(workers).pid]

    class Killing(Collected):
        def write(self, data):
            super().write(data)
            if len(self.body) > 20 and pids:
                os.kill(pids.pop(), signal.SIGKILL)

    reply = Killing()
    with pytest.raises(WorkerLostError):
        ask(app, on=host, reply=reply)
    assert (reply.status, reply.is_aborted, reply.is_whole) == (200, True, False)
    assert ask(built(host, HELLO), on=host).text == "hello /"


def test_a_slow_one_is_not_lost(workers, host):
    """A request that takes too long ends alone; its worker and the others go on."""
    before = process_of(workers).pid
    app = built(host, "export default () => { for (;;); }", limits={"timeout_ms": 300})
    other, texts = built(host, HELLO), []
    ask(other, on=host)
    thread = threading.Thread(target=lambda: texts.append(ask(app, on=host).status))
    thread.start()
    for _ in range(5):
        assert ask(other, on=host).text == "hello /"
    thread.join(WAIT_S)
    assert texts == [504]
    assert process_of(workers).pid == before


def test_a_replay_is_of_no_warm_instance(host):
    """A replay begins where its request did, whatever warm instances answered since."""
    app, sink = built(host, COUNT, instances="warm"), Journal()
    assert ask(app, on=host, record=sink).text == "1"
    assert ask(app, on=host).text == "2"
    _, response = host.replay(app, load_journal(encode_file(sink.records), LIMITS))
    assert response.body == b"1"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import os\ndef handle(request):\n    os._exit(0)"),
        ("javascript", "export default () => process.exit(0)"),
    ],
)
def test_no_response_is_recorded(host, language, code):
    """A request that was not answered did not go well, however its program ended."""
    app, sink = built(host, code, language), Journal()
    asked = ask(app, on=host, record=sink, only_failed=True)
    assert asked.execution.error is None
    assert sink.records
