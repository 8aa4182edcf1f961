"""Attack: calling places that no guest may reach, by every spelling of their addresses."""

from __future__ import annotations

import json

import pytest
from tests.egress.support import redirect
from tests.exec.net_support import allowing, net_world

from abuse.support import completes
from cloche import NetPolicy, Policy

SPELLINGS = (
    "127.0.0.1", "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "169.254.169.254", "10.0.0.1",
    "[fd00:ec2::254]", "168.63.129.16", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
    "127.0.0.1.", "%31%32%37.0.0.1",
    "localhost", "a.example.com@127.0.0.1", "127.0.0.1#@a.example.com", "[fe80::1%25eth0]",
)  # fmt: skip
ADDRESSES = ("10.0.0.1", "169.254.169.254", "fd00:ec2::254", "::ffff:10.0.0.1", "192.168.1.1")

CALL = {
    "python": (
        "import json, net, requests, urllib.request\n"
        "def show(call):\n"
        "    try: print('reached', call())\n"
        "    except Exception as error: print(getattr(error, 'code', '') or error.reason.code)\n"
        "for url in json.loads({urls!r}):\n"
        "    show(lambda: net.fetch(url))\n"
        "    if '@' not in url: show(lambda: requests.get(url))\n"
    ),
    "javascript": (
        "for (const url of JSON.parse({urls!r})) {{\n"
        "  try {{ net.fetch(url); console.log('reached', url); }}\n"
        "  catch (error) {{ console.log(error.code); }}\n"
        "}}\n"
    ),
}
CALLS_OF_RUN = 2  # by net and by requests, which a run without settings of its own may make


@pytest.mark.parametrize("language", CALL)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_spellings(language, scheme):
    """No spelling of an address, and no name for it, is let through by a policy of names."""
    with net_world() as net:
        net.server("localhost")
        policy = Policy(net=NetPolicy(allow=["a.example.com", "*.example.com"]))
        for at in range(0, len(SPELLINGS), CALLS_OF_RUN):
            hosts = SPELLINGS[at : at + CALLS_OF_RUN]
            urls = json.dumps([f"{scheme}://{host}/" for host in hosts])
            out = completes(CALL[language].format(urls=urls), language, policy=policy)
            assert set(out.split()) == {"NET_BLOCKED"}, hosts
            assert len(out.split()) >= len(hosts)
        assert net.world.lookups == []


@pytest.mark.parametrize("language", CALL)
@pytest.mark.parametrize("address", ADDRESSES)
def test_names_that_resolve_to_them(language, address):
    """An allowed name whose address is private is refused, also beside a good address."""
    with net_world() as net:
        server = net.server()
        net.world.names["a.example.com"] = ("127.0.0.1", address)
        url = json.dumps([f"https://a.example.com:{server.port}/"])
        code = CALL[language].format(urls=url)
        out = completes(code, language, policy=allowing(server))
        assert server.connections == 0
    assert set(out.split()) == {"NET_BLOCKED"}


@pytest.mark.parametrize("language", CALL)
def test_redirects_to_them(language):
    """A server that may be called cannot send a guest elsewhere."""
    for place in ("http://127.0.0.1/", "https://169.254.169.254/", "https://b.example.com/"):
        with net_world() as net:
            server = net.server(answer=redirect(place))
            url = json.dumps([f"https://a.example.com:{server.port}/"])
            code = CALL[language].format(urls=url)
            out = completes(code, language, policy=allowing(server))
            assert net.world.lookups == ["a.example.com"] * len(net.world.lookups)
        assert set(out.split()) == {"NET_BLOCKED"}
