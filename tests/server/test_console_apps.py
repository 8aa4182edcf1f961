"""The console's apps: what answers, versions, environment, log, recorded requests and replays."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
import zipfile

import msgspec
import pytest

from cloche.apps.logs import LogLine
from cloche.apps.routing import AppName
from cloche.exec.adapters.session_store import read_records
from cloche.server.adapters.inline import InlineHost
from cloche.server.api import Server
from cloche.store.open import open_store
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.request import Request

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker

MAIN = """
export default {
  async fetch(request, env) {
    const path = new URL(request.url).pathname;
    await env.kv.set("last", path + "<script>");
    if (path === "/fail") throw new Error("told to");
    return new Response("VERSION");
  },
};
"""
MANIFEST = {"name": "shop", "main": "main.js", "storage": ["kv"], "record": {"sample": 1}}
SHOP = AppName(tenant="default", name="shop")
PLACE = "/console/apps/shop"


def archive(version="one"):
    """Return a ZIP of an app."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps(MANIFEST))
        files.writestr("main.js", MAIN.replace("VERSION", version))
    return out.getvalue()


def deploy(asker, data=None, key=None, **query):
    """Deploy an archive."""
    target = "/v1/apps/shop/versions" + "".join(f"?{name}={query[name]}" for name in query)
    fields = [("content-type", b"application/zip")]
    answer = asker.post(target, content=data or archive(), fields=fields, key=key)
    assert answer.status == 201, answer.body
    return answer.document


@pytest.fixture(scope="module")
def shared():
    """A server whose app each test deploys anew."""
    return Asker()


@pytest.fixture
def asker(shared):
    """A server with one app of two versions."""
    deploy(shared)
    deploy(shared, archive("two"))
    yield shared
    if "shop" in shared.server.apps.apps.registry.apps("default"):
        assert shared.ask("DELETE", "/v1/apps/shop").status == 204


@pytest.fixture
def person(asker):
    """Somebody who may use apps, and no more."""
    return Person(asker, asker.new_key("app", name="Ann"))


def state(asker):
    """Return the app as it is."""
    return asker.get("/v1/apps/shop").document


def versions(asker):
    """Return the ids of the versions by their numbers."""
    return {
        each["number"]: each["id"] for each in asker.get("/v1/apps/shop/versions").document["items"]
    }


def test_the_list(asker, person):
    """It says what answers; a server without apps has no such section."""
    page = person.see("/console/apps")
    assert f'href="{PLACE}">shop</a>' in page
    assert '<span class="status ok">v2</span>' in page
    without = Asker()
    host = InlineHost(without.limits, seed=1)
    without.server = Server(open_store("memory:"), without.limits, host=host, log=print)
    other = Person(without, without.server.keyring.make(tenant="default", scopes=("admin",))[1])
    assert "/console/apps" not in other.see("/console")
    assert other.send("GET", "/console/apps").status == 404


def test_versions(asker, person):
    """A person rolls back, lets a version answer, makes a canary, promotes and drops it."""
    ids = versions(asker)
    page = person.see(PLACE)
    assert "v2 answers" in page
    assert page.count(">Let it answer</button>") == 1
    assert person.do(f"{PLACE}/rollback") == PLACE
    assert (state(asker)["live"], said(asker)) == (ids[1], b"one")
    person.do(f"{PLACE}/rollback", to=ids[2])
    assert (state(asker)["live"], said(asker)) == (ids[2], b"two")
    person.do(f"{PLACE}/canary", version=ids[1], share="25")
    assert (state(asker)["canary"], state(asker)["share"]) == (ids[1], 25)
    page = person.see(PLACE)
    assert "v1 answers 25 of 100" in page
    person.do(f"{PLACE}/rollback")
    assert (state(asker)["live"], state(asker)["canary"]) == (ids[2], "")
    person.do(f"{PLACE}/canary", version=ids[1], share="50")
    person.do(f"{PLACE}/promote")
    assert (state(asker)["live"], state(asker)["canary"]) == (ids[1], "")
    page = person.see(PLACE)
    assert page.count("Ann (") >= 6
    assert "<strong>promote</strong>" in page


def test_stopping_and_removing(asker, person):
    """A stopped app says so until it is started; a removed one is gone."""
    person.do(f"{PLACE}/stop")
    assert state(asker)["stopped"] is True
    assert '<span class="status denied">stopped</span>' in person.see(PLACE)
    person.do(f"{PLACE}/start")
    assert state(asker)["stopped"] is False
    assert person.do(f"{PLACE}/remove") == "/console/apps"
    assert person.send("GET", PLACE).status == 404
    assert "There are no apps." in person.see("/console/apps")


def test_the_environment(asker, person):
    """Names are shown and values never; a variable is set and removed."""
    person.do(f"{PLACE}/env", variable="COLOR", value="correct-horse")
    page = person.see(PLACE)
    assert "COLOR" in page
    assert "correct-horse" not in page
    assert asker.server.apps.apps.registry.app(SHOP).env == {"COLOR": "correct-horse"}
    person.do(f"{PLACE}/env/remove", variable="COLOR")
    assert asker.server.apps.apps.registry.app(SHOP).env == {}


@pytest.mark.parametrize(
    ("form", "values", "status"),
    [
        ("rollback", {"to": SCRIPT}, 404),
        ("promote", {}, 409),
        ("canary", {"version": "x", "share": "5"}, 404),
        ("canary", {"version": "1", "share": "0"}, 422),
        ("canary", {"version": "1", "share": SCRIPT}, 422),
        ("env", {"variable": "", "value": "a"}, 422),
    ],
)
def test_a_form_that_is_wrong(asker, person, form, values, status):
    """What is wrong is said on a page, as text, and nothing has changed."""
    before = state(asker)
    answer = person.submit(f"{PLACE}/{form}", **values)
    assert answer.status == status, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert state(asker) == before


def test_the_log(asker, person):
    """Lines are text, of a level and of a request; a page of a thousand of them stays small."""
    logs, now_ms = asker.server.apps.apps.logs, 1_800_000_000_000
    logs.write(
        SHOP,
        LogLine(at_ms=now_ms, level="warn", message=SCRIPT, fields={"a": SCRIPT}, request="r1"),
    )
    logs.write(SHOP, LogLine(at_ms=now_ms, level="debug", message="quiet"))
    page = person.see(f"{PLACE}/logs")
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;") == 2
    assert ">quiet<" in page
    assert "2027-01-15 08:00:00" in page
    assert f'data-tail="{PLACE}/tail?level=debug&amp;request="' in page
    assert ">quiet<" not in person.see(f"{PLACE}/logs?level=warn")
    assert ">quiet<" not in person.see(f"{PLACE}/logs?request=r1")
    assert person.send("GET", f"{PLACE}/logs?level=loud").status == 422
    for _ in range(1000):
        logs.write(SHOP, LogLine(at_ms=now_ms, level="info", message="<" * 5000))
    assert "The newest 14." in person.see(f"{PLACE}/logs")
    person.see(PLACE)


def said(asker, path="/"):
    """Return what the app answers."""
    apps = asker.server.apps
    request = Request(
        method="GET",
        target=path,
        services=FixtureServices(),
        fields=[(b"host", b"shop.localhost")],
        client="192.0.2.1",
    )
    answer = asyncio.run(apps.answer(request, apps.find(request)))
    while any(each.running for each in apps.numbers.values()):
        time.sleep(0.005)
    return answer.body


def record(asker, path):
    """Let a request be answered and recorded; return its page."""
    said(asker, path)
    apps = asker.server.apps
    return f"{PLACE}/requests/{apps.apps.recordings.page(SHOP)[0].id}"


def test_a_recorded_request(asker, person):
    """Its page has what was asked, a timeline, its journal, and runs it again to the same bytes."""
    place = record(asker, "/a?" + SCRIPT)
    for page in (person.see(PLACE), person.see(f"{PLACE}/requests")):
        assert f'href="{place}"' in page
        assert SCRIPT not in page
    page = person.see(place)
    assert SCRIPT not in page
    assert ">v2</dd>" in page
    assert page.count('<rect class="bar completed"') == 2  # the answer goes out as one, too
    effect = person.see(f"{place}/effects/0")
    assert f'<a href="{place}">request {place[-32:][:12]}</a>' in effect
    assert "/a&lt;script&gt;" in effect
    assert person.send("GET", f"{place}/effects/9").status == 404
    journal = person.send("GET", f"{place}/journal")
    assert journal.fields["content-disposition"] == "attachment"
    assert all(json.loads(line) for line in journal.body.splitlines())
    answer = person.submit(f"{place}/replay")
    check_page(answer)
    assert "Replayed: the same bytes. Status 200, 3 bytes of body." in text_of(answer)


def test_a_request_that_failed(asker, person):
    """It is marked with why, counted, and its replay fails in the same way."""
    place = record(asker, "/fail")
    assert '<span class="status failed">500 ' in person.see(PLACE)
    assert "Replayed: the same bytes. Status 500" in text_of(person.submit(f"{place}/replay"))
    assert "told to" in person.see(f"{PLACE}/logs?level=error&request={place[-32:]}")


def test_a_replay_that_differs(asker, person):
    """Where a run does something else, both sides are shown."""
    place = record(asker, "/a")
    recordings = asker.server.apps.apps.recordings
    kept = recordings.find(place[-32:])
    other = msgspec.structs.replace(kept, id="0" * 32, version=versions(asker)[1])
    records = read_records(asker.store, kept.id)
    recordings.keep(SHOP, other, records, language="javascript")
    answer = person.submit(f"{PLACE}/requests/{other.id}/replay")
    assert answer.status == 409
    check_page(answer)
    page = answer.body.decode()
    assert "Replayed: it did something else" in page
    assert page.count('aria-label="Recorded"') == page.count('aria-label="This time"') == 1


def test_nobody_sees_the_apps_of_others(asker, person):
    """For another tenant an app does not exist, on any page or form; nor do its requests."""
    place = record(asker, "/a")
    other = Person(asker, asker.new_key("app", tenant="other"))
    assert "There are no apps." in other.see("/console/apps")
    for path in (
        PLACE,
        f"{PLACE}/logs",
        f"{PLACE}/tail",
        f"{PLACE}/requests",
        place,
        f"{place}/journal",
    ):
        answer = other.send("GET", path)
        assert answer.status == 404, path
    forms = ("rollback", "canary", "promote", "stop", "start", "env", "env/remove", "remove")
    for path in (*(f"{PLACE}/{form}" for form in forms), f"{place}/replay"):
        answer = other.submit(path, to="1", version="1", share="5", variable="A", value="b")
        assert answer.status == 404, path
    deploy(asker, key=asker.new_key("app", tenant="other"))
    assert other.send("GET", place).status == 404
    person.see(place)


def test_an_app_with_much_of_everything_is_a_small_page(asker, person):
    """Many versions, variables, actions, lines and requests fit on one page."""
    apps = asker.server.apps.apps
    key = asker.new_key("app", name="<" * 100)
    for number in range(18):
        deploy(asker, archive(f"{number}"), key=key)
    apps.registry.set_env(SHOP, {f"{'V' * 60}{each}": "" for each in range(128)}, who="<" * 100)
    record(asker, "/a?" + "<" * 500)
    for _ in range(20):
        apps.logs.write(SHOP, LogLine(at_ms=1, level="info", message="<" * 900))
    kept = apps.recordings.page(SHOP)[0]
    for number in range(20):
        apps.recordings.keep(
            SHOP,
            msgspec.structs.replace(kept, id=f"{number:032}"),
            read_records(asker.store, kept.id),
            language="javascript",
        )
    page = person.see(PLACE)
    assert re.search(r"The first \d+ of 128\.", page)
    assert page.count(">Let it answer</button>") == 19
    person.see(f"{PLACE}/requests")
