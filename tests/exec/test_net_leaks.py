"""A secret that is used in every way is found nowhere but where it was sent."""

from __future__ import annotations

import base64
import json
import logging
from urllib.parse import quote, quote_plus

import pytest
from tests.egress.support import redirect, response

import cloche
from cloche.egress.adapters.database import NetDatabase
from cloche.egress.secrets import Secret
from cloche.gate.adapters.file import read_journal
from cloche.limits import Limits
from cloche.store.open import open_store

from .net_support import CALLS, allowing, net_world

WAYS = ("bearer", "header", "query", "basic", "placeholder")
PROGRAMS = {
    "python": """
import asyncio, net, requests, sys, urllib.request
for way in ("bearer", "header", "query", "basic"):
    r = requests.post(origin + "/" + way, data="x", auth=way)
    print(way, r.status_code, dict(r.headers), r.text, r.url)
headers = {"X-Token": "{{secret:placeholder}}"}
body = "{{secret:placeholder}}"
r = net.fetch(origin + "/placeholder", method="POST", headers=headers, body=body)
print(r.text, r.headers, file=sys.stderr)
await asyncio.gather(net.afetch(origin + "/bytes", auth="bearer"), net.afetch(origin))
kept = [r.text, (await net.afetch(origin + "/go", auth="query")).url]
open("/kept.txt", "w").write(str(kept) + r.text)
for url, auth in (
    ("https://b.example.com/", "bearer"), (origin, "none"), (origin + "/cut", "query"),
):
    try:
        net.fetch(url, auth=auth)
    except net.NetError as error:
        print(error)
raise ValueError(r.text)
""",
    "javascript": """
import { writeFileSync } from "node:fs";
for (const auth of ["bearer", "header", "query", "basic"]) {
  const r = await fetch(origin + "/" + auth, { method: "POST", body: "x", auth });
  console.log(auth, r.status, r.headers, await r.text(), r.url);
}
const token = "{{secret:placeholder}}";
const r = net.fetch(origin + "/placeholder", {
  method: "POST", headers: { "X-Token": token }, body: token,
});
console.error(r.text(), r.headers);
await Promise.all([fetch(origin + "/bytes", { auth: "bearer" }), fetch(origin)]);
const kept = [r.text(), (await fetch(origin + "/go", { auth: "query" })).url];
writeFileSync("/kept.txt", kept + r.text());
for (const [url, auth] of [
  ["https://b.example.com/", "bearer"], [origin, "none"], [origin + "/cut", "query"],
]) {
  await fetch(url, { auth }).catch((error) => console.log(error.message));
}
throw new Error(r.text());
""",
}


def value_of(way):
    """Return the secret of a way: letters that every encoding changes, and some none does."""
    return f"s3cr+t/{way}=val~ue {way}%\\"


def forms_of(way):
    """Return what a search looks for."""
    value = value_of(way)
    data = value.encode()
    if way == "query":
        return encodings_of(data) | encodings_of(quote(value, safe="").encode())
    if way == "basic":
        return encodings_of(data) | encodings_of(base64.b64encode(b"user:" + data))
    return encodings_of(data)


def encodings_of(data):
    """Return data as it is and as a server could write it."""
    value = data.decode()
    forms = {data, data.hex().encode(), quote(value).encode(), quote(value, safe="").encode()}
    forms |= {quote_plus(value).encode(), json.dumps(value)[1:-1].encode()}
    for lead in range(3):
        encoded = base64.b64encode(b"?" * lead + data + b"??")
        forms.add(encoded[4:-8])
        forms.add(base64.urlsafe_b64encode(b"?" * lead + data)[4:-4])
    return forms


FORMS = {form for way in WAYS for form in forms_of(way)}


def found_in(data):
    """Return the forms of secrets that data holds."""
    return sorted(form for form in FORMS if form in data)


def test_the_search_finds():
    """What the other tests rely on: a secret in any form is found."""
    for way in WAYS:
        value = value_of(way)
        for form in (
            value,
            quote(value),
            json.dumps({"a": value}),
            base64.b64encode(b"ab" + value.encode()).decode(),
            f"user:{value}".encode().hex(),
        ):
            assert found_in(f"<{form}>".encode()), (way, form)
    assert not found_in(b"[secret:bearer] and other words")


def cut(body):
    """Return an answer that ends before its body does."""

    async def answer(_, writer):
        writer.write(response(body=body)[:-5])
        await writer.drain()

    return answer


def echo_everything(request):
    """Answer with all that was sent, in every form, in body, headers and URL."""
    value = value_of(request.target.strip("/").partition("?")[0])
    if request.target.startswith("/go"):
        return redirect(request.target.replace("/go", "/after") + "&again=" + quote(value))
    sent = request.head + request.body
    secrets = b"|".join(value_of(way).encode() for way in WAYS)
    forms = [
        sent,
        secrets,
        base64.b64encode(sent),
        base64.b64encode(secrets),
        secrets.hex().encode(),
        quote(secrets).encode(),
        json.dumps(secrets.decode()).encode(),
    ]
    if request.target.startswith("/bytes"):
        forms.append(b"\xff\xfe")
    if request.target.startswith("/cut"):
        return cut(b"|".join(forms))
    head = quote(value)
    return response(body=b"|".join(forms), X_Echo=value, X_Quoted=head, Etag=f'"{head}"')


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_no_leak(language, tmp_path, caplog, capfd):
    """Stores, journals, logs, output, errors, files, memory of the guest: no form of any secret."""
    caplog.set_level(logging.DEBUG)
    limits = Limits().replace(CALLS)
    database = NetDatabase(tmp_path / "net.db", limits, key=bytes(range(32)))
    store = open_store(tmp_path / "store.db")
    with net_world(CALLS, secrets=database, log=database) as net:
        server = net.server(answer=echo_everything)
        for way in WAYS:
            database.put_secret(
                Secret(
                    name=way,
                    value=value_of(way),
                    domains=("a.example.com",),
                    ports=(server.port,),
                    inject_as=way,
                    key={"header": "X-Key", "query": "key", "basic": "user"}.get(way, ""),
                )
            )
        say = {"javascript": "const origin = ", "python": "origin = "}[language]
        code = f'{say}"https://a.example.com:{server.port}"\n{PROGRAMS[language]}'
        options = {
            "policy": allowing(server, "a.example.com", secrets=WAYS),
            "limits": cloche.load_limits(CALLS),
        }
        seen = [str(run_once(code, language, tmp_path / "journal", **options))]
        session = cloche.Session.create(language, store=store)
        seen.append(str(run_in(session, code, **options)))
        with session._sessions.turn(session.id) as live:
            machine = session._sessions.awake(live)
            instance = machine._instance
            instance.dump(tmp_path / "memory", instance.memory_bytes)
        seen.append(session.download("/kept.txt").decode())
        journal = read_journal(tmp_path / "journal")
        session.close()
        sent = b"".join(request.head + request.body for request in server.requests)
    store.close()
    database.close()
    # They were used: that nothing is found below means something.
    for way in WAYS:
        assert any(form in sent for form in forms_of(way)), way
    assert "[secret:bearer]" in seen[0]
    assert "[secret:query]" in seen[0]
    seen += [caplog.text, *capfd.readouterr(), repr(journal)]
    assert not found_in("".join(seen).encode())
    searched = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in searched} >= {"net.db", "store.db", "journal", "memory"}
    for path in searched:
        assert not found_in(path.read_bytes()), path.name


def run_once(code, language, path, **options):
    """Return all that a run that fails in the end tells of itself."""
    with pytest.raises(cloche.RuntimeFailedError) as caught:
        cloche.run(code, language=language, record=path, **options)
    return told(caught.value)


def run_in(session, code, **options):
    """Return the same of a run in a session."""
    with pytest.raises(cloche.RuntimeFailedError) as caught:
        session.run(code, **options)
    return told(caught.value)


def told(error):
    """Return an error with all that it carries."""
    return [str(error), repr(error), error.fields, error.result.run.stdout, error.result.run.stderr]
