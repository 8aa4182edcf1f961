"""What tenants may have and do: settings, quotas, rates, and neighbours that make noise."""

from __future__ import annotations

import heapq

import pytest

from cloche.limits import Limits
from cloche.server.fairness import Bounds, Entry, FairQueue, TenantBounds
from cloche.server.rates import Rates
from cloche.server.tenants import TENANT_LIMITS

from .support import Asker

MS = 1_000_000
PATH = "/v1/tenants/other"
RUN = {"code": "1", "language": "javascript"}
SESSION = {"language": "javascript"}


@pytest.fixture
def asker():
    """A server with two tenants."""
    found = Asker()
    found.other = found.new_key("admin", tenant="other")
    return found


def give(asker, tenant="other", **limits):
    """Give a tenant limits of its own; return its document."""
    answer = asker.ask("PUT", f"/v1/tenants/{tenant}", body={"limits": limits})
    assert answer.status == 200, answer.body
    return answer.document


def refused(answer, status, code):
    """Return the document of a refusal; one that is worth another try says when."""
    assert (answer.status, answer.document["code"]) == (status, code)
    assert ("retry-after" in answer.fields) == (status == 429)
    assert answer.document["blame"] == "limit"
    return answer.document


# --- settings ---


def test_settings(asker):
    """A tenant has the server's limits until it is given others, and again when they are taken."""
    before = asker.get(PATH).document
    assert before["limits"] == {n: getattr(Limits().server, n) for n in TENANT_LIMITS}
    assert (before["own"], before["use"]) == ({}, {"sessions": 0, "stored_bytes": 0})
    after = give(asker, session_count_max=2, tenant_run_rate_limit=60)
    assert after["own"] == {"session_count_max": 2, "tenant_run_rate_limit": 60}
    assert after["limits"] == {**before["limits"], **after["own"]}
    assert asker.get(PATH, key=asker.other).document == after
    assert asker.get("/v1/tenants/default").document["own"] == {}
    assert give(asker) == before


def test_the_list(asker):
    """The operator sees who has a key or settings, in pages; a tenant sees itself."""
    give(asker, "without-keys", session_count_max=1)
    page = asker.get("/v1/tenants?limit=2").document
    assert [each["id"] for each in page["items"]] == ["default", "other"]
    page = asker.get(f"/v1/tenants?limit=2&after={page['next']}").document
    assert [(each["id"], each["own"]) for each in page["items"]] == [
        ("without-keys", {"session_count_max": 1})
    ]
    own = asker.get("/v1/tenants", key=asker.other).document
    assert [each["id"] for each in own["items"]] == ["other"]


def test_who_decides(asker):
    """A tenant reads its own limits and changes none; of others it learns nothing."""
    answer = asker.ask("PUT", PATH, key=asker.other, body={"limits": {}})
    assert (answer.status, answer.document["code"]) == (403, "SERVER_OPERATOR")
    for tenant in ("default", "nobody"):
        for method, options in (("GET", {}), ("PUT", {"body": {"limits": {}}})):
            answer = asker.ask(method, f"/v1/tenants/{tenant}", key=asker.other, **options)
            assert (answer.status, answer.document["code"]) == (404, "SERVER_NOT_FOUND")
    assert asker.get("/v1/tenants/nobody").status == 404


@pytest.mark.parametrize(
    ("tenant", "limits", "says"),
    [
        ("other", {"session_count": 1}, "did you mean session_count_max?"),
        ("other", {"drain_ms": 1}, "is no limit that a tenant has"),
        ("other", {"session_count_max": 0}, "session_count_max"),
        ("other", {"tenant_run_rate_limit": -1}, "tenant_run_rate_limit"),
        ("Other", {}, "it has 1 to 63 of a-z"),
    ],
)
def test_settings_that_are_wrong(asker, tenant, limits, says):
    """They are 422, say what is wrong, and change nothing."""
    answer = asker.ask("PUT", f"/v1/tenants/{tenant}", body={"limits": limits})
    assert answer.status == 422, answer.body
    assert says in answer.document["message"]
    assert asker.get(PATH).document["own"] == {}
    assert asker.get("/v1/audit").document["items"] == []


def test_changes_are_in_the_audit(asker):
    """It says who gave whom which limits."""
    give(asker, session_count_max=2)
    record = asker.get("/v1/audit").document["items"][0]
    assert (record["action"], record["target"]) == ("tenant.set", "other")
    assert record["details"] == {"session_count_max": 2}


def test_another_process_changes_settings(asker):
    """What `cloche tenants` writes holds with the next turn of maintenance."""
    second = Asker(store=asker.store, seed=1)
    give(second, session_count_max=1)
    assert asker.server.tenants.limits("other").session_count_max == 10_000
    asker.server.maintain()
    assert asker.server.tenants.limits("other").session_count_max == 1


# --- quotas and rates ---


def test_runs_per_minute(asker):
    """Above the rate it is 429 with the time to wait; after it, it goes on; others are not met."""
    give(asker, tenant_run_rate_limit=60, tenant_run_burst_max=2)
    assert asker.post("/v1/run", RUN, key=asker.other).status == 200
    assert asker.post("/v1/runs", RUN, key=asker.other).status == 202
    for path in ("/v1/run", "/v1/runs"):
        answer = asker.post(path, RUN, key=asker.other)
        assert refused(answer, 429, "SERVER_RATE")["fields"]["per_minute"] == 60
        assert answer.fields["retry-after"] == "1"
    assert asker.post("/v1/run", RUN).status == 200
    asker.host.time_ns += 1_000_000_000
    assert asker.post("/v1/run", RUN, key=asker.other).status == 200
    refused(asker.post("/v1/run", RUN, key=asker.other), 429, "SERVER_RATE")


def test_a_rate_holds_for_sessions_too(asker):
    """A run in a session counts like every other."""
    asker.post("/v1/sessions", {**SESSION, "name": "s"}, key=asker.other)
    give(asker, tenant_run_rate_limit=1, tenant_run_burst_max=1)
    assert asker.post("/v1/sessions/s/run", {"code": "1"}, key=asker.other).status == 200
    answer = asker.post("/v1/sessions/s/run", {"code": "1"}, key=asker.other)
    refused(answer, 429, "SERVER_RATE")


def test_what_is_repeated_is_not_counted(asker):
    """A kept answer is given again without counting a run."""
    give(asker, tenant_run_rate_limit=1, tenant_run_burst_max=1)
    fields = [("idempotency-key", b"k")]
    found = [asker.post("/v1/run", RUN, key=asker.other, fields=fields) for _ in range(3)]
    assert [answer.status for answer in found] == [200] * 3


def test_runs_at_once(asker):
    """A tenant has as many workers as it may; another one is not held up by it."""
    give(asker, tenant_worker_count_max=1, tenant_queue_length_max=2)
    asker.host.workers.is_held = True
    for _ in range(2):
        assert asker.post("/v1/runs", RUN, key=asker.other).status == 202
    refused(asker.post("/v1/runs", RUN, key=asker.other), 429, "SERVER_QUEUE_FULL")
    assert asker.post("/v1/runs", RUN).status == 202
    queue = asker.host.workers._queue
    assert [queue.pop().tenant for _ in range(2)] == ["other", "default"]
    assert queue.pop() is None


def test_kept_sessions(asker):
    """One session more is refused, until one is removed."""
    give(asker, session_count_max=1)
    made = asker.post("/v1/sessions", SESSION, key=asker.other).document
    refused(asker.post("/v1/sessions", SESSION, key=asker.other), 409, "SERVER_QUOTA")
    answer = asker.post(f"/v1/sessions/{made['id']}/fork", {}, key=asker.other)
    refused(answer, 409, "SERVER_QUOTA")
    assert asker.post("/v1/sessions", SESSION).status == 201
    asker.ask("DELETE", f"/v1/sessions/{made['id']}", key=asker.other)
    assert asker.post("/v1/sessions", SESSION, key=asker.other).status == 201


def test_stored_bytes(asker):
    """Who has stored too much stores no more, and can remove what is there."""
    name = asker.post("/v1/sessions", SESSION, key=asker.other).document["id"]
    path = f"/v1/sessions/{name}/files/a.bin"
    content = asker.host.random_bytes(50_000)
    assert asker.ask("PUT", path, content=content, key=asker.other).status == 204
    used = asker.get(PATH).document["use"]
    assert used["sessions"] == 1
    assert used["stored_bytes"] >= 50_000
    give(asker, tenant_stored_limit_bytes=40_000)
    for method, target, options in (
        ("PUT", path, {"content": b"1"}),
        ("POST", "/v1/sessions", {"body": SESSION}),
        ("POST", f"/v1/sessions/{name}/run", {"body": {"code": "1"}}),
        ("POST", f"/v1/sessions/{name}/fork", {"body": {}}),
    ):
        answer = asker.ask(method, target, key=asker.other, **options)
        assert "tenant_stored_limit_bytes" in refused(answer, 409, "SERVER_QUOTA")["message"]
    assert asker.get(path, key=asker.other).body == content
    assert asker.post("/v1/run", RUN, key=asker.other).status == 200
    assert asker.ask("DELETE", f"/v1/sessions/{name}", key=asker.other).status == 204
    assert asker.post("/v1/sessions", SESSION, key=asker.other).status == 201


# --- neighbours ---


def simulated(rates, *, minutes=2, workers=4, run_ns=20 * MS, **bounds):
    """Return how long runs of each tenant took and how many were refused, on a virtual clock.

    Args:
        rates: runs a minute of each tenant, at even distances.
        minutes: how long they come.
        workers: that execute.
        run_ns: how long one run takes.
        bounds: limits of each tenant.
    """
    limits = Limits().replace({"server": bounds}).server
    queue = FairQueue(Bounds(waiting_max=1024, tenant_waiting_max=256, tenant_running_max=workers))
    queue.bounds_of = lambda _: TenantBounds(
        waiting_max=limits.tenant_queue_length_max, running_max=limits.tenant_worker_count_max
    )
    buckets, free = Rates(), workers
    events = [
        (n * 60_000 * MS // rate, 0, tenant)
        for tenant, rate in rates.items()
        for n in range(rate * minutes)
    ]
    heapq.heapify(events)
    waits, refused = {tenant: [] for tenant in rates}, dict.fromkeys(rates, 0)
    while events:
        now_ns, order, what = heapq.heappop(events)
        if order == 0:
            late = buckets.take(
                what,
                now_ns,
                per_minute=limits.tenant_run_rate_limit,
                burst=limits.tenant_run_burst_max,
            )
            entry = Entry(tenant=what, session=None, item=now_ns)
            refused[what] += bool(late) or queue.push(entry) is not None
        else:
            free += 1
            queue.finish(what)
        while free and (entry := queue.pop()) is not None:
            free -= 1
            waits[entry.tenant].append(now_ns - entry.item + run_ns)
            heapq.heappush(events, (now_ns + run_ns, id(entry), entry))
    return {tenant: sorted(found) for tenant, found in waits.items()}, refused


def p99(waits):
    """Return the time within which 99 of 100 were answered."""
    return waits[len(waits) * 99 // 100]


QUIET = {"a": 600, "b": 600, "c": 600}


@pytest.mark.parametrize(
    "bounds",
    [
        {"tenant_run_rate_limit": 1200, "tenant_run_burst_max": 20},
        {"tenant_worker_count_max": 2},
        {},
    ],
)
@pytest.mark.parametrize("rate", [6000, 30_000])
def test_a_noisy_neighbour(bounds, rate):
    """One tenant at ten and fifty times its rate: the 99th percentile of others at most doubles."""
    alone, _ = simulated(QUIET, **bounds)
    beside, refused = simulated({**QUIET, "noisy": rate}, **bounds)
    for tenant in QUIET:
        assert p99(beside[tenant]) <= 2 * p99(alone[tenant])
        assert refused[tenant] == 0
        assert len(beside[tenant]) == len(alone[tenant])


def test_a_noisy_neighbour_would_be_noticed():
    """The simulation above can fail: as one tenant, everybody waits behind the noise."""
    alone, _ = simulated({"all": 1800})
    together, refused = simulated({"all": 31_800})
    assert p99(together["all"]) > 10 * p99(alone["all"])
    assert refused["all"] > 0
