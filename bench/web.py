"""Measures the server against its peers, in one run: `python bench/web.py [--quick] [--only WORD]`.

Server on one processor, client on another. Load is made by wrk where it is installed, else by a
client of our own, which is slower: then CPU per request is what can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

SERVERS = Path(__file__).with_name("web_servers.py")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
HEADERS = ["Accept: */*", "User-Agent: bench", "Accept-Language: en"]
PLAINTEXT = ["cloche", "cloche-asyncio", "uvicorn", "granian", "aiohttp", "starlette", "fastapi"]
JSON = ["cloche-full", "cloche", "starlette", "fastapi", "aiohttp"]
IDLE_COUNT = 10_000
# For wrk: one field that is another one in each request.
OTHER_FIELD = """
local count = 0
request = function()
  count = count + 1
  wrk.headers["X-Request-Id"] = string.format("%016x", count * 2654435761)
  return wrk.format()
end
"""
GIB = 1 << 30


class Served:
    """A server in a process of its own, on the first processor."""

    def __init__(self, name: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, str(SERVERS), name, str(self.port)]
        self.process = subprocess.Popen(command, start_new_session=True, env=_environment())
        os.sched_setaffinity(self.process.pid, {0})

    def __enter__(self) -> Self:
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise TimeoutError

    def __exit__(self, *failure: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[int]:
        """Return the numbers of its processes."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid:  # the session
                found.append(int(entry.parent.name))
        return found

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        ticks = 0
        for number in self.processes():
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks * TICK_S

    def memory_bytes(self, name: str = "VmRSS") -> int:
        """Return its memory."""
        total = 0
        for number in self.processes():
            status = Path(f"/proc/{number}/status").read_text()
            total += int(re.search(rf"{name}:\s+(\d+)", status)[1]) * 1024
        return total

    def connect(self) -> socket.socket:
        """Return a connection."""
        return socket.create_connection(("127.0.0.1", self.port))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SERVERS.parent)}


def load(served: Served, target: str, seconds: float, *, changing: bool) -> dict[str, float]:
    """Ask for a target as fast as possible; return requests a second and CPU for each.

    `changing` sends a field that is another one in each request.
    """
    _wrk(served, target, 1, changing=changing)
    before = served.cpu_s()
    count, spent = _wrk(served, target, seconds, changing=changing)
    return {"krps": count / spent / 1000, "cpu_us": (served.cpu_s() - before) / count * 1e6}


def _wrk(served: Served, target: str, seconds: float, *, changing: bool) -> tuple[int, float]:
    if shutil.which("wrk") is None:
        return _own_load(served, target, seconds, changing=changing)
    headers = [part for header in HEADERS for part in ("-H", header)]
    url = f"http://127.0.0.1:{served.port}{target}"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(OTHER_FIELD)
        script.flush()
        script_option = ["-s", script.name] if changing else []
        duration = f"-d{max(1, round(seconds))}s"
        command = ["wrk", "-t1", "-c64", duration, *script_option, *headers, url]
        found = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, check=True)
    match = re.search(r"(\d+) requests in ([\d.]+)s", found.stdout.decode())
    assert "Non-2xx" not in found.stdout.decode(), found.stdout
    return int(match[1]), float(match[2])


def _own_load(served: Served, target: str, seconds: float, *, changing: bool) -> tuple[int, float]:
    lines = "".join(f"{header}\r\n" for header in HEADERS)
    begin = f"GET {target} HTTP/1.1\r\nHost: bench\r\n{lines}".encode()
    clients = [served.connect() for _ in range(64)]
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for number, client in enumerate(clients, count):
            other = b"X-Request-Id: %016x\r\n" % number if changing else b""
            client.send(begin + other + b"\r\n")
        for client in clients:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        count += len(clients)
    for client in clients:
        client.close()
    return count, time.perf_counter() - began


def echo(served: Served, seconds: float) -> dict[str, float]:
    """Send messages of a WebSocket in batches; return messages a second and CPU for each."""
    batch, size = 200, 64
    mask = b"\x01\x02\x03\x04"
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(bytes(size)))
    frame = bytes((0x82, 0x80 | size)) + mask + payload
    answer_size = (size + 2) * batch
    with served.connect() as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        before, began, count = served.cpu_s(), time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            client.sendall(frame * batch)
            left = answer_size
            while left:
                left -= len(client.recv(left))
            count += batch
        spent = time.perf_counter() - began
    return {"krps": count / spent / 1000, "cpu_us": (served.cpu_s() - before) / count * 1e6}


def transfer(served: Served, direction: str, size: int) -> dict[str, float]:
    """Move bytes; return MB a second of wall and CPU time, and the growth of memory in MB."""
    piece, before, memory = bytes(1 << 18), served.cpu_s(), served.memory_bytes()
    with served.connect() as client:
        began = time.perf_counter()
        if direction == "upload":
            head = f"POST /upload HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n"
            client.sendall(head.encode())
            for _ in range(size // len(piece)):
                client.sendall(piece)
            assert client.recv(4096).endswith(str(size).encode())
        else:
            client.sendall(b"GET /download HTTP/1.1\r\nHost: bench\r\n\r\n")
            left, buffer = size, bytearray(1 << 20)
            while left > 0:
                left -= client.recv_into(buffer)
        spent = time.perf_counter() - began
    return {
        "mb_s": size / spent / 1e6,
        "mb_cpu_s": size / (served.cpu_s() - before) / 1e6,
        "growth_mb": (served.memory_bytes("VmHWM") - memory) / 1e6,
    }


def idle(served: Served, count: int) -> dict[str, float]:
    """Open connections that asked once; return memory for each."""
    request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    warm = [served.connect() for _ in range(50)]
    before = served.memory_bytes()
    clients = []
    for _ in range(count):
        client = served.connect()
        client.send(request)
        assert client.recv(4096)
        clients.append(client)
    grown = served.memory_bytes() - before
    for client in (*warm, *clients):
        client.close()
    return {"kb_each": grown / count / 1000}


def main() -> None:
    """Measure everything, print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    seconds = 1 if options.quick else 4
    rounds = 1 if options.quick else 3
    jobs = []
    for what, target, names in (("plaintext", "/", PLAINTEXT), ("json", "/items/7", JSON)):
        for changing in (False, True):
            jobs += [
                (
                    f"{what}, one field changing" if changing else what,
                    name,
                    lambda s, t=target, c=changing: load(s, t, seconds, changing=c),
                )
                for name in names
            ]
    jobs += [
        ("websocket", name, lambda s: echo(s, seconds))
        for name in ("cloche", "websockets", "aiohttp", "uvicorn")
    ]
    for direction in ("upload", "download"):
        jobs += [
            (direction, name, lambda s, d=direction: transfer(s, d, GIB))
            for name in ("cloche", "aiohttp")
        ]
    jobs += [("idle", name, lambda s: idle(s, IDLE_COUNT)) for name in ("cloche", "aiohttp")]
    # In turns, so that all have the same share of what else the machine does.
    jobs = [each for each in jobs if options.only in f"{each[0]} {each[1]}"]
    found: list[list[dict[str, float]]] = [[] for _ in jobs]
    for _ in range(rounds):
        print(f"load {os.getloadavg()[0]:.1f}", flush=True)
        for (_, name, job), results in zip(jobs, found, strict=True):
            with Served(name) as served:
                results.append(job(served))
    for (what, name, _), results in zip(jobs, found, strict=True):
        median = {key: sorted(each[key] for each in results)[rounds // 2] for key in results[0]}
        print(what, name, json.dumps({key: round(value, 2) for key, value in median.items()}))


if __name__ == "__main__":
    main()
