"""WebSockets against what others made: Autobahn's suite, and the npm package `ws`."""

from __future__ import annotations

import json
import subprocess

import pytest
import uvloop

from cloche.limits import Limits
from cloche.limits.web_groups import WebLimits
from cloche.web.app import App
from cloche.web.websocket.channel import WebSocket  # noqa: TC001 - signatures are read at run time

from . import tools
from .background import Background

# Large messages and compression are tried with few sizes: the suite sends a thousand in each case,
# and all of them take minutes beside other programs.
LARGE = "9.1.1 9.1.4 9.2.1 9.2.4 9.3.4 9.4.4 9.5.4 9.6.4 9.7.1 9.8.1".split()
PACKED = "12.1.1 12.1.2 12.2.1 12.3.1 12.4.1 12.5.1 13.1.1 13.2.1 13.7.1".split()
CASES = [*(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)), *LARGE, *PACKED]
# 13.3 to 13.6 ask for windows of compression that are not offered.
GOOD = {"OK", "INFORMATIONAL", "NON-STRICT"}
# What comes right before a frame that breaks the rules may be answered, and need not be: reserved
# bits, reserved opcodes, and a fragment that continues nothing.
MAY_BE_LEFT_OUT = ("3.", "4.", "5.15")
SUITE_S = 300


def echo_app():
    """Return an application that says everything again, in several ways."""
    app = App()

    async def echo(socket: WebSocket) -> None:
        async for message in socket:
            await socket.send(message)

    async def close(socket: WebSocket) -> None:
        await socket.close(4002, "enough")

    app.websocket("/echo")(echo)
    app.websocket("/deflate", deflate=True)(echo)
    app.websocket("/chat", subprotocols=["chat"])(echo)
    app.websocket("/close")(close)
    return app


@pytest.mark.timeout(SUITE_S)
def test_autobahn(tmp_path):
    """No case of the suite fails."""
    command = tools.wstest()
    if command is None:
        pytest.skip("Autobahn's suite is not there: python -m tests.web.checkers.tools")
    web = WebLimits(websocket_message_limit_bytes=1 << 24, websocket_fragment_count_max=1_000_000)
    with Background(echo_app(), limits=Limits(web=web), loop=uvloop.new_event_loop) as server:
        spec = {
            "outdir": str(tmp_path / "report"),
            "servers": [{"agent": "cloche", "url": f"ws://{server.address}/deflate"}],
            "cases": CASES,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        command += ["-m", "fuzzingclient", "-s", str(tmp_path / "spec.json")]
        done = subprocess.run(command, capture_output=True, timeout=SUITE_S, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    report = json.loads((tmp_path / "report" / "index.json").read_text())["cloche"]
    assert len(report) > 260
    bad = {
        name: case["behavior"]
        for name, case in report.items()
        if {case["behavior"], case["behaviorClose"]} - GOOD
    }
    assert bad == {}
    loose = {name for name, case in report.items() if case["behavior"] == "NON-STRICT"}
    assert all(name.startswith(MAY_BE_LEFT_OUT) for name in loose), loose


def test_ws(tmp_path):
    """The client most used with node says and hears what was said, and understands each end."""
    found = tools.node_with("ws")
    if found is None:
        pytest.skip("the npm package ws is not there: python -m tests.web.checkers.tools")
    node, package = found
    script = tools.Path(__file__).with_name("interop.cjs")
    with Background(echo_app()) as server:
        command = [node, str(script), str(package), f"ws://{server.address}"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.stderr == b""
    heard = json.loads(done.stdout)
    assert heard["plain"] == {
        "messages": [
            ["text", 11, "grüß gott"],
            ["binary", 3, "00ff01"],
            ["text", 16, "fragments of one"],
            ["binary", 1_000_000, "07" * 8],
        ],
        "pongs": 1,
        "subprotocol": "",
        "extensions": "",
        "code": 1000,
        "error": None,
    }
    assert heard["deflate"]["messages"] == [
        ["text", 100_000, "a" * 16],
        ["binary", 100_000, "09" * 8],
    ]
    assert heard["deflate"]["extensions"].startswith("permessage-deflate")
    assert (heard["subprotocol"]["subprotocol"], heard["subprotocol"]["code"]) == ("chat", 1000)
    assert heard["code"]["code"] == 4001
    assert heard["closed"]["code"] == 4002
    assert (heard["large"]["messages"], heard["large"]["code"]) == ([], 1009)
    assert heard["refused"]["error"] == "Unexpected server response: 404"
