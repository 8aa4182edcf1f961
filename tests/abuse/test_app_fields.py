"""Attack: an app below a path of the server's own host speaks for the whole of that host."""

from __future__ import annotations

import pytest

from abuse.app_support import place

MAIN = """
export default (request) => new Response("<script>top.location = '/console'</script>", {
  headers: LINES,
});
"""
OF_ORIGIN = {
    "Clear-Site-Data": '"*"',
    "Strict-Transport-Security": "max-age=1; includeSubDomains",
    "Service-Worker-Allowed": "/",
    "Origin-Agent-Cluster": "?0",
    "Alt-Svc": 'h2="evil.example:443"',
    "NEL": '{"report_to":"x","max_age":9}',
    "Report-To": '{"group":"x","max_age":9,"endpoints":[{"url":"https://evil.example"}]}',
    "Reporting-Endpoints": 'x="https://evil.example"',
    "Accept-CH": "Sec-CH-UA",
    "Public-Key-Pins": "x",
}


@pytest.fixture(scope="module")
def world():
    """A server that the tests of this module share."""
    with place() as found:
        yield found


def told(world, lines, host="127.0.0.1:8787", path="/apps/shop/"):
    """Return the answer of an app that sets these lines."""
    world.deploy(code=MAIN.replace("LINES", lines))
    return world.get(path, host=host)


def test_nothing_for_the_whole_origin(world):
    """No field that a browser keeps for all of an origin leaves an app on the server's host."""
    answer = told(world, str(OF_ORIGIN))
    assert {name for name, _ in answer.fields} & {name.lower() for name in OF_ORIGIN} == set()
    assert answer.status == 200


def test_its_own_host_is_its_own(world):
    """On a host name of its own an app says what it likes about itself."""
    answer = told(world, str(OF_ORIGIN), host="shop.localhost", path="/")
    assert answer.all("clear-site-data") == ['"*"']
    assert answer.all("content-security-policy") == []


@pytest.mark.parametrize(
    "lines",
    [
        "{'Content-Security-Policy': 'sandbox allow-same-origin allow-scripts'}",
        "{'content-security-policy': ''}",
        "{'CONTENT-SECURITY-POLICY-REPORT-ONLY': 'sandbox'}",
        "[['Content-Security-Policy', 'sandbox allow-same-origin'], ['x', 'y']]",
    ],
)
def test_the_sandbox_stays(world, lines):
    """A policy of the app comes beside the sandbox, and browsers obey both."""
    answer = told(world, lines)
    policies = answer.all("content-security-policy")
    assert policies[-1] == "sandbox allow-scripts allow-forms allow-popups allow-downloads"


@pytest.mark.parametrize("status", [301, 304, 401, 404, 500])
def test_of_every_status(world, status):
    """Whatever the status, and whoever answers for the app, the page is sandboxed."""
    world.deploy(code=f"export default () => new Response(null, {{ status: {status} }});")
    answer = world.get("/apps/shop/")
    assert answer.status == status
    assert "sandbox" in answer.all("content-security-policy")[-1]


@pytest.mark.parametrize("status", [100, 101, 103, 199, 600, 999, -1])
def test_no_status_of_the_connection(world, status):
    """A status that would be no end of the answer, or none at all, is an error of the app."""
    world.deploy(code=f"export default () => ({{ status: {status}, headers: {{}}, body: 'x' }});")
    assert world.get("/apps/shop/").status == 500


@pytest.mark.parametrize(
    "value", ["a\\r\\nSet-Cookie: x=1", "a\\nb", "a\\0b", "a\\rb", "\\u0100", "a\\u2028b"]
)
def test_no_split_response(world, value):
    """A value cannot begin another line, in a header, a redirect or a cookie."""
    for name in ("X-A", "Location", "Set-Cookie", "Refresh"):
        answer = told(world, f"{{ '{name}': '{value}' }}")
        assert answer.status == 500
        assert answer.all("set-cookie") == []


@pytest.mark.parametrize("name", ["a b", "a:b", "", "a\\r\\nb", "\\u00e9", "x".ljust(300, "x")])
def test_no_such_name(world, name):
    """Nor can the name of a field."""
    assert told(world, f"[['{name}', 'x']]").status == 500


def test_the_connection_is_the_server_s(world):
    """Length and encoding of a response are written by the server, whatever the app says."""
    lines = "{'Content-Length': '3', 'Transfer-Encoding': 'chunked', 'Connection': 'upgrade', "
    answer = told(world, lines + "'Upgrade': 'h2c', 'Trailer': 'x', 'Keep-Alive': 'x'}")
    names = {name for name, _ in answer.fields}
    assert names & {"content-length", "transfer-encoding", "connection", "upgrade"} == set()
    assert len(answer.body) > 3


def test_giant_heads(world):
    """A head that no client would take is an error of the app."""
    assert told(world, "{'x': 'y'.repeat(1 << 20)}").status == 500
    many = "Array.from({length: 5000}, (_, n) => ['x' + n, 'y'])"
    assert told(world, many).status == 500
