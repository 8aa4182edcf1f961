"""A run with calls is recorded once, and replayed without a network to the same bytes."""

from __future__ import annotations

import asyncio

import pytest
from tests.egress.support import OK, redirect, response

import cloche
from cloche.egress.adapters.service import NetService
from cloche.egress.open import use_service
from cloche.exec.api import execute, make_request

from .net_support import CALLS, allowing, net_world, silent
from .support import LANGUAGES

# Calls at once whose answers come in another order, failures, bytes, time, and calls that wait.
# The program tells the server which answer it has, and only then does the server give the next.
PROGRAMS = {
    "javascript": """
const call = async (path) => {
  try {
    const r = await fetch(origin + path);
    console.log(path, r.status, (await r.bytes()).join(), Date.now());
    if (path === "/3" || path === "/2") await fetch(origin + "/seen" + path);
  } catch (error) {
    console.log(path, error.code, error.retryable);
  }
};
await Promise.all(["/3", "/1", "/2", "/bytes", "/go", "/cut"].map(call));
await fetch("https://b.example.com/").catch((error) => console.log(error.message));
const signal = AbortSignal.timeout(30);
await fetch(origin + "/silent", { signal }).catch((error) => console.log(error.name));
console.log(net.fetch(origin + "/end", { method: "POST", body: "x" }).text(), Date.now());
""",
    "python": """
import asyncio, net, requests, time, urllib.request
async def call(path):
    try:
        r = await net.afetch(origin + path)
        print(path, r.status, list(r.content), time.time_ns())
        if path in ("/3", "/2"):
            await net.afetch(origin + "/seen" + path)
    except net.NetError as error:
        print(path, error.code, error.retryable)
await asyncio.gather(*map(call, ["/3", "/1", "/2", "/bytes", "/go", "/cut"]))
try:
    requests.get("https://b.example.com/")
except requests.ConnectionError as error:
    print(error)
try:
    await asyncio.wait_for(net.afetch(origin + "/silent"), 0.03)
except TimeoutError:
    print("late")
print(urllib.request.urlopen(origin + "/end", b"x").read(), time.time_ns())
r = requests.get(origin + "/1")
print(r.elapsed, r.headers)
""",
}


class NoNetwork(NetService):
    """A service that nobody may use."""

    def __init__(self):
        super().__init__(lambda: None)

    def submit(self, work):
        """See `NetService`."""
        raise AssertionError(f"a replay made a call: {work}")


def answering():
    """Return an answer that gives a number only when the program has the one above it."""
    seen = {"/2": asyncio.Event(), "/1": asyncio.Event()}

    async def answer(request):
        match request.target:
            case "/1" | "/2" as path:
                await seen[path].wait()
                return response(body=path.encode())
            case "/seen/3":
                seen["/2"].set()
            case "/seen/2":
                seen["/1"].set()
            case "/bytes":
                return response("203 Other", bytes([0, 255, 254]))
            case "/go":
                return redirect("/end")
            case "/silent":
                return silent
            case "/cut":
                return cut
        return OK

    return answer


async def cut(_, writer):
    """End in the middle of a response."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
    await writer.drain()


@pytest.mark.parametrize("language", LANGUAGES)
def test_replay_needs_no_network(language, tmp_path):
    """Output, files, errors and the hash of the journal are the same, and nobody was called."""
    path = tmp_path / "journal"
    with net_world(CALLS) as net:
        server = net.server(answer=answering())
        say = {"javascript": "const origin = ", "python": "origin = "}[language]
        live = execute(
            make_request(
                f'{say}"https://a.example.com:{server.port}"\n{PROGRAMS[language]}',
                language=language,
                policy=allowing(server),
                limits=cloche.load_limits(CALLS),
            ),
            record=path,
        )
        called = [request.target for request in server.requests]
    assert (live.error, live.result.run.stderr) == (None, "")
    lines = live.result.run.stdout.splitlines()
    order = [line.split()[0] for line in lines if line.split()[0] in ("/1", "/2", "/3")]
    assert order == ["/3", "/2", "/1"]
    assert "/bytes 203" in live.result.run.stdout
    assert "/cut NET_ERROR" in live.result.run.stdout
    assert {"javascript": "TimeoutError", "python": "late"}[language] in lines
    # A call that is given up after 30 ms may not have come so far as to the server.
    numbers = {"/1", "/2", "/3", "/seen/3", "/seen/2"}
    assert set(called) - {"/silent"} == {*numbers, "/bytes", "/go", "/cut", "/end"}
    use_service(NoNetwork())
    try:
        again = cloche.replay(path)
    finally:
        use_service(None)
    assert again.result.run == live.result.run
    assert again.journal_hash == live.journal_hash
    assert again.files == live.files
