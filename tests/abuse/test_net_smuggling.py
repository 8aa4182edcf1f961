"""Attack: one call that is two, or another than was decided about, or with what is forbidden."""

from __future__ import annotations

import pytest
from tests.exec.net_support import allowing, echo, net_world

from abuse.support import completes
from cloche.egress.secrets import Secret
from cloche.gate.policy import Policy

LINES = r"a\r\nX-Smuggled: 1\r\n\r\nGET /second HTTP/1.1\r\nHost: a.example.com"

ATTEMPTS = {
    "python": {
        "header": f'net.fetch(origin, headers={{"X-A": "{LINES}"}})',
        "header's name": f'net.fetch(origin, headers={{"{LINES}": "x"}})',
        "method": f'net.fetch(origin, method="GET / HTTP/1.1\\r\\nX: {LINES}")',
        "reason of another method": 'net.fetch(origin, method="CONNECT")',
        "TRACE": 'net.fetch(origin, method="TRACE")',
        "header through requests": f'requests.get(origin, headers={{"X-A": "{LINES}"}})',
        "target": (
            'host.effect("http.fetch", "GET https://b.example.com", {"url": origin + "/second"})'
        ),
        "unknown arguments": (
            'host.effect("http.fetch", "GET " + origin, {"url": origin + "/", "proxy": "http://x"})'
        ),
        "types": 'host.effect("http.fetch", "GET " + origin, [origin])',
        "foreign secret": 'net.fetch(origin, auth="OTHER")',
        "foreign placeholder": 'net.fetch(origin, headers={"X": "{{secret:OTHER}}"})',
    },
    "javascript": {
        "header": f'net.fetch(origin, {{ headers: {{ "X-A": "{LINES}" }} }})',
        "header's name": f'net.fetch(origin, {{ headers: {{ "{LINES}": "x" }} }})',
        "method": f'net.fetch(origin, {{ method: "GET / HTTP/1.1\\r\\nX: {LINES}" }})',
        "TRACE": 'await fetch(origin, { method: "TRACE" })',
        "header of fetch": (
            f'await fetch(origin, {{ headers: {{ toString() {{ return "x" }}, "X": "{LINES}" }} }})'
        ),
        "foreign secret": 'net.fetch(origin, { auth: "OTHER" })',
        "foreign placeholder": 'net.fetch(origin, { headers: { X: "{{secret:OTHER}}" } })',
    },
}
CASES = [(language, name) for language, named in ATTEMPTS.items() for name in named]
FRAME = {
    "python": (
        "import net, requests\nfrom _cloche import host\norigin = {origin!r}\n"
        "try:\n    print('sent', {attempt})\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    ),
    "javascript": (
        "const origin = {origin!r};\n"
        "try {{ console.log('sent', {attempt}); }} catch (error) {{ console.log(error.name); }}\n"
    ),
}


def attempt(net, language, code):
    """Run one attempt; return the server that it was aimed at and what the program printed."""
    server = net.server(answer=echo)
    text = FRAME[language].format(origin=f"https://a.example.com:{server.port}", attempt=code)
    return server, completes(text, language, policy=allowing(server, secrets=("KEY",)))


@pytest.mark.parametrize(("language", "name"), CASES, ids=[" ".join(case) for case in CASES])
def test_nothing_is_sent(language, name):
    """The attempt is an error in the program, and no server hears of it."""
    with net_world() as net:
        net.world.secrets["OTHER"] = Secret(
            name="OTHER", value="not-for-this-run", domains=("a.example.com",)
        )
        server, out = attempt(net, language, ATTEMPTS[language][name])
        assert server.requests == []
    assert out.strip() in ("NetError", "EffectError", "ConnectionError", "TypeError")


HEADERS = """{
    "Content-Length": "99", "Transfer-Encoding": "chunked", "Host": "b.example.com",
    "Connection": "upgrade", "X-Forwarded-For": "127.0.0.1", "Metadata-Flavor": "Google",
    "Cookie": "a=1"
}"""


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", f'net.fetch(origin, method="POST", body="x", headers={HEADERS}).text'),
        (
            "javascript",
            f'net.fetch(origin, {{ method: "POST", body: "x", headers: {HEADERS} }}).text()',
        ),
    ],
)
def test_headers_that_the_host_sets(language, code):
    """What frames, routes or authorizes a request is not the guest's to say."""
    with net_world() as net:
        server, out = attempt(net, language, code)
        (sent,) = server.requests
    assert out.startswith("sent ")
    assert sent.header("host") == [f"a.example.com:{server.port}"]
    assert sent.header("content-length") == ["1"]
    assert sent.body == b"x"
    names = {name for name, _ in sent.headers}
    forbidden = {"transfer-encoding", "x-forwarded-for", "metadata-flavor", "cookie"}
    assert not names & forbidden


@pytest.mark.parametrize("language", FRAME)
def test_rules_of_the_gate_still_hold(language):
    """A rule of the gate that denies a method and origin is not overruled by those of hosts."""
    code = {
        "python": 'net.fetch(origin, method="DELETE").status',
        "javascript": 'net.fetch(origin, { method: "delete" }).status',
    }[language]
    with net_world() as net:
        server = net.server()
        rules = {"http.fetch": {"deny": ["DELETE *"]}}
        policy = Policy.from_document({**rules, "net": allowing(server).net})
        text = FRAME[language].format(origin=f"https://a.example.com:{server.port}", attempt=code)
        assert completes(text, language, policy=policy) == "NetError\n"
        assert server.requests == []
