"""WebSockets that apps handle, with a client that is a list."""

from __future__ import annotations

import queue
import threading

import pytest

from apps.support import LIMITS, Log, build, host
from cloche.apps.messages import AppRequest
from cloche.apps.ports import ClientGoneError
from cloche.exec.adapters.effects import CancelToken
from cloche.gate.adapters.memory import MemorySink
from cloche.gate.journal import load_journal


class Client:
    """Says what it is given, keeps what it gets; leaves when it has said `None`."""

    def __init__(self, *says, gone_after: int = 10**9) -> None:
        self.says: queue.SimpleQueue = queue.SimpleQueue()
        for one in says:
            self.says.put(one)
        self.got: list[str | bytes] = []
        self.protocol: str | None = "not accepted"
        self.closed: tuple[int, str] | None = None
        self._gone_after = gone_after
        self.heard = threading.Semaphore(0)

    def accept(self, protocol):
        self.protocol = protocol

    def receive(self, timeout_s):
        try:
            return self.says.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None

    def send(self, content):
        if len(self.got) >= self._gone_after or self.closed:
            raise ClientGoneError
        self.got.append(content)
        self.heard.release()

    def close(self, code, reason):
        self.closed = self.closed or (code, reason)


def talk(code, client, language="javascript", *, limits=LIMITS, built=None, **options):
    """Let an app talk with a client; return the execution."""
    built = built or build(code, language, host_limits=limits)
    request = AppRequest(
        method="GET",
        target="/chat?room=1",
        lines=((b"host", b"app.example"), (b"sec-websocket-protocol", b"chat, other")),
        host="app.example",
    )
    return host(limits).handle_socket(built, request, client, **options)


ECHO = [
    ("javascript", ("export default { async websocket(socket) {"
     " for await (const m of socket) socket.send(typeof m === 'string' ? `got ${m}` : m) } }")),
    ("javascript", ("export default { async websocket(socket) { socket.accept();"
     " for (let m; (m = await socket.receive()) !== null;)"
     " socket.send(typeof m === 'string' ? `got ${m}` : m) } }")),
    ("python", ("def websocket(socket):\n    for m in socket:\n"
     "        socket.send(f'got {m}' if isinstance(m, str) else m)")),
    ("python", ("async def websocket(socket):\n    async for m in socket:\n"
     "        socket.send(f'got {m}' if isinstance(m, str) else m)")),
    ("python", ("async def websocket(socket):\n    socket.accept()\n"
     "    while (m := await socket.receive()) is not None:\n"
     "        socket.send(f'got {m}' if isinstance(m, str) else m)")),
]  # fmt: skip


@pytest.mark.parametrize(("language", "code"), ECHO)
def test_messages_go_both_ways(language, code):
    """Texts and bytes, in order, until the client closes."""
    client = Client("a", b"\x00\xff", "ä", None)
    execution = talk(code, client, language)
    assert execution.failure is None
    assert execution.status == 101
    assert client.got == ["got a", b"\x00\xff", "got ä"]
    assert client.closed == (1000, "")
    assert client.protocol is None


@pytest.mark.parametrize(("language", "code"), ECHO)
def test_a_conversation_is_replayed(language, code):
    """The messages that came are in the journal, those that went are compared."""
    sink = MemorySink()
    built = build(code, language)
    execution = talk(code, Client("a", "b", None), language, built=built, record=sink)
    again, response = host().replay(built, load_journal(sink.to_bytes(), LIMITS))
    assert again.journal_hash == execution.journal_hash
    assert response is None


def test_the_request_and_the_subprotocol():
    """The handshake can be looked at, answered with what was offered, or refused."""
    code = """export default { websocket(socket) {
      const room = new URL(socket.request.url).searchParams.get("room");
      try { socket.accept({ protocol: "none" }) } catch (e) { console.log(e.code) }
      socket.accept({ protocol: "chat" });
      try { socket.accept() } catch (e) { console.log(e.code) }
      socket.send(room);
      socket.close(4000, "bye");
      console.log(socket.send("late"));
    } }"""
    client, printed = Client(), bytearray()
    talk(code, client, on_output=lambda _stream, data: printed.extend(data))
    assert (client.protocol, client.got, client.closed) == ("chat", ["1"], (4000, "bye"))
    assert printed.decode().split() == ["BAD_RESPONSE", "ALREADY_ANSWERED", "false"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("export default { websocket() {} }", 403),
        ("export default { websocket() { throw new Error('x') } }", 500),
    ],
)
def test_a_handshake_that_is_not_accepted(code, status):
    """Nothing was said to the client: who has the connection answers."""
    client = Client()
    execution = talk(code, client)
    assert (execution.status, client.protocol, client.closed) == (status, "not accepted", None)


def test_a_failure_closes_with_1011():
    """The client is told that it was not its fault."""
    code = "export default { async websocket(s) { for await (const m of s) throw new Error(m) } }"
    client = Client("x")
    execution = talk(code, client)
    assert client.closed == (1011, "")
    assert execution.failure.code == "RUNTIME_FAILED"


def test_timers_go_on_while_it_listens():
    """Waiting for a message keeps nothing else from happening."""
    code = """export default { async websocket(socket) {
      socket.accept();
      const timer = setInterval(() => socket.send("tick"), 20);
      await socket.receive();
      clearInterval(timer);
    } }"""
    client = Client()

    def leave():
        for _ in range(2):
            client.heard.acquire(timeout=60)
        client.says.put(None)

    thread = threading.Thread(target=leave)
    thread.start()
    talk(code, client)
    thread.join()
    assert client.got[:2] == ["tick", "tick"]


def test_a_client_that_left_is_no_failure():
    """Sending tells so, and goes on."""
    code = """export default { websocket(socket) {
      socket.accept();
      let count = 0;
      while (socket.send("x")) count += 1;
      console.log(count);
    } }"""
    printed = bytearray()
    execution = talk(
        code, Client(gone_after=3), on_output=lambda _stream, data: printed.extend(data)
    )
    assert (printed, execution.failure) == (b"3\n", None)


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_a_silent_client_does_not_keep_it_for_ever(language):
    """The time of a WebSocket ends, and a token ends it before."""
    code = next(code for known, code in ECHO if known == language)
    built = build(code, language)
    limits = LIMITS.replace({"apps": {"socket_timeout_ms": 300}})
    short = build(code, language, host_limits=limits)
    client = Client()
    execution = talk(code, client, language, limits=limits, built=short)
    assert execution.failure.code == "TIMEOUT"
    token = CancelToken()

    class Leaving(Client):
        def accept(self, protocol):
            super().accept(protocol)
            threading.Timer(0.1, token.cancel).start()

    client = Leaving()
    execution = talk(code, client, language, cancel=token, built=built)
    assert execution.error is not None
    assert client.closed == (1011, "")


def test_messages_that_none_can_be():
    """Too large, of another kind, with a code that is the protocol's own."""
    code = """
import cloche
from cloche_app import log
from _cloche import host

def tell(target, args):
    try:
        host.effect("app", f"socket.{target}", args)
        return "ok"
    except cloche.EffectError as error:
        return error.code

def websocket(socket):
    told = [tell("send", {"data": "early"}), tell("receive", {}), tell("accept", 1)]
    told += [tell("accept", {"protocol": 5}), tell("accept", {})]
    for target, args in (("send", {"data": 1}), ("send", {}), ("send", {"data": "x" * 2000}),
                         ("close", {"code": 1006}), ("close", {"code": "1000"}),
                         ("close", {"reason": "x" * 200}), ("nod", {})):
        told.append(tell(target, args))
    log.info(" ".join(told))
"""
    limits = LIMITS.replace({"apps": {"socket_message_limit_bytes": 1024}})
    log, client = Log(), Client()
    talk(code, client, "python", limits=limits, log=log)
    assert log.lines[0][1].split() == [
        "CLIENT_GONE", "ALREADY_ANSWERED", "ok", "ALREADY_ANSWERED", "ALREADY_ANSWERED",
        "BAD_RESPONSE", "BAD_RESPONSE", "RESPONSE_TOO_LARGE",
        "BAD_RESPONSE", "BAD_RESPONSE", "BAD_RESPONSE", "APP_TARGET",
    ]  # fmt: skip
    assert client.got == []
