"""A server without sockets and threads, and how to ask it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cloche.apps.open import open_apps
from cloche.limits import Limits
from cloche.server.adapters.inline import InlineHost
from cloche.server.api import Server
from cloche.store.open import open_store
from cloche.web.adapters.fixture import FixtureServices, read_body, run_now
from cloche.web.request import Request

JSON = [("content-type", b"application/json")]
EVENTS = [("accept", b"text/event-stream")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def document(self):
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def events(self):
        """The body as events: (name, id, data)."""
        found = []
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
            if "event" in fields:
                found.append((fields["event"], fields["id"], json.loads(fields["data"])))
        return found


class Asker:
    """A server on a store in memory, its keys, and a way to ask it.

    Args:
        storage: values by name of the group `storage`.
        limits: those of the group `server`.
    """

    def __init__(
        self,
        *,
        store=None,
        seed=0,
        allow_net=False,
        tools=None,
        cors_origins=(),
        storage=None,
        **limits,
    ):
        self.limits = Limits().replace({"server": limits, "storage": storage or {}})
        self.store = store or open_store("memory:")
        self.records = []
        self.host = InlineHost(self.limits, seed=seed)
        self.server = Server(
            self.store,
            self.limits,
            host=self.host,
            log=self.records.append,
            allow_net=allow_net,
            tools=tools,
            cors_origins=cors_origins,
            apps=open_apps(self.store, self.limits),
        )
        self.server.is_warm.set()
        self.key = self.new_key("admin")

    def new_key(self, *scopes, tenant="default", **options):
        """Return the text of a new key."""
        return self.server.keyring.make(tenant=tenant, scopes=scopes, **options)[1]

    def ask(self, method, target, *, key=None, body=None, fields=(), content=None):
        """Return what the server answers; `body` is sent as JSON, `content` as it is."""
        sent = list(fields)
        if key != "":
            sent.append(("authorization", f"Bearer {key or self.key}".encode()))
        if body is not None:
            sent += JSON
            content = json.dumps(body).encode()
        request = Request(
            method=method,
            target=target,
            fields=[(name.lower().encode(), value) for name, value in sent],
            body=content or b"",
            services=FixtureServices(),
            client="192.0.2.1",
        )
        response = run_now(self.server.app.handle(request))
        return Answer(
            status=response.status,
            fields={name.decode(): value.decode() for name, value in response.fields},
            body=run_now(read_body(response)),
        )

    def get(self, target, **options):
        """Return what a GET answers."""
        return self.ask("GET", target, **options)

    def post(self, target, body=None, **options):
        """Return what a POST answers."""
        return self.ask("POST", target, body=body, **options)

    def run(self, code, language="python", **options):
        """Return the document of a run that was answered with 200."""
        answer = self.post("/v1/run", {"code": code, "language": language, **options})
        assert answer.status == 200, answer.body
        return answer.document
