"""One server, five doors: HTTP, the Python client, MCP, an app, and the console in a browser.

Starts `cloche serve` with a store of its own, runs a first program through each of them, and leaves
the server running until Ctrl-C (`--once` ends it).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

import cloche
from cloche.cli.apps import write_app

HELLO = "print('hello from', 6 * 7)"


class Doors:
    """The ways into a server that runs.

    Args:
        url: of the server.
        key: of an administrator.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.headers = {"authorization": f"Bearer {key}"}

    def api(self) -> str:
        """Run a program with one request."""
        body = {"code": HELLO, "language": "python"}
        answer = httpx.post(f"{self.url}/v1/run", json=body, headers=self.headers, timeout=30)
        return str(answer.raise_for_status().json()["stdout"])

    def client(self) -> str:
        """Run a program as `cloche.run` does it, only elsewhere."""
        with cloche.Client(self.url, self.key) as client:
            return client.run("console.log('hello from', 6 * 7)", language="javascript").run.stdout

    def mcp(self) -> str:
        """Run a program as a model's client does it."""
        from mcp import ClientSession  # noqa: PLC0415 - an extra
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

        async def call() -> str:
            async with (
                httpx.AsyncClient(headers=self.headers, timeout=30) as http,
                streamable_http_client(f"{self.url}/mcp", http_client=http) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                answer = await session.call_tool("run_code", {"code": HELLO})
                return str(answer.structuredContent["stdout"])

        return asyncio.run(call())

    def app(self, folder: Path) -> str:
        """Deploy a web app, and visit it."""
        import io  # noqa: PLC0415 - beside its only use
        import zipfile  # noqa: PLC0415

        write_app(folder / "hello", "js")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path in (folder / "hello").rglob("*"):
                if path.is_file():
                    archive.write(path, path.relative_to(folder / "hello"))
        target = f"{self.url}/v1/apps/hello/versions"
        content = packed.getvalue()
        deployed = httpx.post(target, content=content, headers=self.headers, timeout=60)
        deployed.raise_for_status()
        visit = httpx.get(f"{self.url}/api/visits", headers={"host": "hello.localhost"}, timeout=30)
        return visit.raise_for_status().text

    def console(self) -> str:
        """Sign in as a browser does, and look at the runs so far."""
        # By hand, since a client that is no browser sends cookies for TLS over TLS alone.
        page = httpx.get(f"{self.url}/console/sign-in", timeout=30)
        token = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page.text))
        answer = httpx.post(
            f"{self.url}/console/sign-in",
            data={**token, "key": self.key},
            headers={"origin": self.url, "cookie": _cookies(page)},
            timeout=30,
        )
        signed_in = {"cookie": _cookies(answer)}
        listed = httpx.get(f"{self.url}/console/runs", headers=signed_in, timeout=30)
        runs = set(re.findall(r"/console/runs/([0-9a-f]{32})", listed.raise_for_status().text))
        return f"signed in, {len(runs)} {'run' if len(runs) == 1 else 'runs'} listed"


def _cookies(answer: httpx.Response) -> str:
    return "; ".join(line.partition(";")[0] for line in answer.headers.get_list("set-cookie"))


def started(folder: Path, bind: str) -> tuple[subprocess.Popen[str], Doors]:
    """Start a server; return it, and the way in."""
    server = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "cloche", "serve", "--bind", bind, "--store", str(folder / "c.db")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    key = url = ""
    for line in server.stdout:
        if found := re.match(r"admin key, shown once: (\S+)", line):
            key = found[1]
        if found := re.match(r"cloche serves (\S+), pages", line):
            url = found[1]
            break
    if not (key and url):
        again = f"{sys.executable} {sys.argv[0]} --bind HOST:PORT"
        raise SystemExit(f"the server did not start; what it says is above; elsewhere: {again}")
    while httpx.get(f"{url}/readyz").status_code != httpx.codes.OK:
        time.sleep(0.1)
    return server, Doors(url, key)


def main() -> None:
    """Start a server, go through every door, and say how to go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1:8787", help="where to listen")
    parser.add_argument("--once", action="store_true", help="end the server after the tour")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the server would stay behind
    out = Console()
    with tempfile.TemporaryDirectory(prefix="cloche-") as name:
        folder = Path(name)
        server, doors = started(folder, options.bind)
        try:
            grid = Table("door", "what came back", title="One server, five doors")
            grid.add_row("POST /v1/run", doors.api().strip())
            grid.add_row("cloche.Client", doors.client().strip())
            grid.add_row("MCP at /mcp", doors.mcp().strip())
            grid.add_row("an app at hello.localhost", doors.app(folder).strip())
            grid.add_row("the console", doors.console())
            out.print(grid)
            if not options.once:
                out.print(f"\nOpen [bold]{doors.url}/console[/] and sign in with")
                out.print(f"  [bold]{doors.key}[/]", soft_wrap=True, highlight=False)
                out.print(f"The app: {doors.url.replace('127.0.0.1', 'hello.localhost')}/")
                out.print("Ctrl-C ends the server; what it kept goes with it.")
                server.wait()
        except KeyboardInterrupt:
            out.print("\nstopping")
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
