"""Outbound HTTP of JavaScript programs: fetch as the web has it, and net.fetch, which waits."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from tests.egress.support import OK, redirect, response
from tests.exec.net_support import CALLS, allowing, echo, net_world, silent, together

import cloche
from cloche.egress.secrets import Secret


@pytest.fixture
def net():
    """Return a world of servers."""
    with net_world(CALLS) as world:
        yield world


def run(code, server, *hosts, **policy):
    """Run a program that finds its server under `origin`; return the lines that it prints."""
    text = f'const origin = "https://a.example.com:{server.port}";\n{code}'
    result = cloche.run(
        text,
        language="javascript",
        policy=allowing(server, *hosts, **policy),
        limits=cloche.load_limits(CALLS),
    )
    assert result.run.stderr == "", result.run.stderr
    return result.run.stdout.splitlines()


def test_response(net):
    """A response has what the standard says."""
    server = net.server(answer=response("201 Made", b"hello", Content_Type="text/plain", X_Two="a"))
    code = """
    const r = await fetch(origin + "/a?b#c");
    console.log(r.status, r.statusText, r.ok, r.redirected, r.type, r.url === origin + "/a?b");
    console.log(r.headers.get("CONTENT-type"), r.headers.get("none"), r.headers.has("x-two"));
    console.log(r.bodyUsed, await r.text(), r.bodyUsed);
    await r.text().catch((e) => console.log(e.name, e.message));
    """
    assert run(code, server) == [
        "201 Made true false basic true",
        "text/plain null true",
        "false hello true",
        "TypeError Body is unusable: Body has already been read",
    ]
    assert server.requests[0].target == "/a?b"


def test_bodies_that_come(net):
    """A body is read as text, JSON, bytes, buffer, blob, or piece by piece; a clone is its own."""
    server = net.server(answer=response(body=b'{"a": [1, "\xc3\xa9"]}'))
    code = """
    const r = await fetch(origin);
    const all = [r.clone(), r.clone(), r.clone(), r.clone(), r.clone()];
    console.log((await r.json()).a[1]);
    console.log((await all[0].bytes()).length, (await all[1].arrayBuffer()).byteLength);
    const blob = await all[2].blob();
    console.log(blob.size, await blob.text());
    const reader = all[3].body.getReader();
    const { value, done } = await reader.read();
    console.log(value.length, done, (await reader.read()).done, all[3].body.locked);
    let size = 0;
    for await (const part of all[4].body) size += part.length;
    console.log(size, all[4].bodyUsed);
    """
    assert run(code, server) == [
        "é",
        "16 16",
        '16 {"a": [1, "é"]}',
        "16 false true true",
        "16 true",
    ]


def test_bytes_that_are_no_text(net):
    """A body that is no UTF-8 arrives as it was, in pieces of at most 64 KiB."""
    data = bytes(range(256)) * 600
    server = net.server(answer=response(body=data))
    code = """
    const { createHash } = require("node:crypto");
    const hash = createHash("sha256");
    const sizes = [];
    for await (const part of (await fetch(origin)).body) {
      sizes.push(part.length);
      hash.update(part);
    }
    console.log(sizes.join(), hash.digest("hex"));
    """
    assert run(code, server) == [f"65536,65536,22528 {hashlib.sha256(data).hexdigest()}"]


def test_bodies_that_go(net):
    """Text, parameters, bytes and blobs are sent as they are, with the type that they imply."""
    server = net.server(answer=echo)
    code = """
    for (const body of [
      "é", new URLSearchParams({ a: "b c" }), new Uint8Array([255, 0]), new Uint8Array([97]).buffer,
      new Blob(["x"], { type: "a/b" }), JSON.stringify({ a: 1 }),
    ]) {
      const sent = await (await fetch(origin, { method: "post", body })).json();
      console.log(sent.method, Object.fromEntries(sent.headers)["content-type"], sent.body);
    }
    """
    assert run(code, server) == [
        "POST text/plain;charset=UTF-8 Ã©",
        "POST application/x-www-form-urlencoded;charset=UTF-8 a=b+c",
        "POST undefined ÿ\0",
        "POST undefined a",
        "POST a/b x",
        'POST text/plain;charset=UTF-8 {"a":1}',
    ]


def test_request_object(net):
    """A Request carries method, headers and body, and what is given beside it comes first."""
    server = net.server(answer=echo)
    code = """
    const init = { method: "PUT", headers: { "X-A": "1" }, body: "b" };
    const request = new Request(origin + "/r", init);
    const copy = request.clone();
    const sent = await (await fetch(request, { headers: [["x-a", "2"], ["x-a", "3"]] })).json();
    console.log(sent.method, sent.target, sent.body,
      sent.headers.filter(([name]) => name === "x-a").map(([, value]) => value).join("|"));
    console.log(request.bodyUsed, copy.bodyUsed, await copy.text());
    await fetch(request).catch((e) => console.log(e.name));
    for (const make of [
      () => new Request("nowhere"), () => new Request(origin, { body: "x" }),
      () => new Request("https://u:p@a.example.com/"), () => new Headers([["a b", "c"]]),
      () => new Headers({ a: "x\\ny" }), () => new Response("x", { status: 204 }),
    ]) try { make(); console.log("made"); } catch (e) { console.log(e.name); }
    """
    assert run(code, server) == [
        "PUT /r b 2|3",
        "true false b",
        *["TypeError"] * 7,
    ]


def test_headers():
    """Headers are found in any case, joined, kept apart where they are cookies, and sorted."""
    code = """
    const h = new Headers({ B: "2", a: "1" });
    h.append("A", "3"); h.append("Set-Cookie", "x=1, y"); h.append("set-cookie", "z");
    console.log(JSON.stringify([...h]), h.getSetCookie().length);
    h.set("a", "9"); h.delete("b");
    console.log([...h.keys()].join(), h.get("A"), h.has("b"));
    h.forEach((value, name) => console.log(name, value));
    console.log(Response.json({ a: 1 }).headers.get("content-type"), Response.error().status);
    console.log(Response.redirect("https://a.b/").headers.get("location"));
    """
    result = cloche.run(code, language="javascript")
    assert result.run.stdout.splitlines() == [
        '[["a","1, 3"],["b","2"],["set-cookie","x=1, y"],["set-cookie","z"]] 2',
        "a,set-cookie,set-cookie 9 false",
        "a 9",
        "set-cookie x=1, y",
        "set-cookie z",
        "application/json 0",
        "https://a.b/",
    ]


def test_calls_overlap(net):
    """Ten calls of Promise.all are on their way at once."""
    server = net.server(answer=together(10, echo))
    code = """
    const all = await Promise.all(Array.from({ length: 10 }, (_, i) => fetch(`${origin}/${i}`)));
    console.log((await Promise.all(all.map((r) => r.json()))).map((s) => s.target).join(""));
    """
    assert run(code, server) == ["/0/1/2/3/4/5/6/7/8/9"]


def test_redirects(net):
    """A redirect is followed, shown or refused, as the program says."""
    server = net.server(answer=lambda r: redirect("/end") if r.target == "/" else OK)
    code = """
    const r = await fetch(origin);
    console.log(r.status, r.redirected, r.url === origin + "/end");
    console.log((await fetch(origin, { redirect: "manual" })).status);
    await fetch(origin, { redirect: "error" }).catch((e) => console.log(e.code));
    """
    assert run(code, server) == ["200 true true", "302", "NET_BLOCKED"]


def test_failures_have_codes(net):
    """What went wrong can be told by code; whether trying again helps is data."""
    server = net.server(answer=lambda _: silent)
    code = """
    const show = (e) => (
      console.log(e.name, e instanceof TypeError, e.code, e.retryable, e.retryAfter)
    );
    await fetch("https://b.example.com/").catch(show);
    await fetch(origin, { timeout: 30 }).catch(show);
    try { net.fetch(origin, { timeout: 30 }); } catch (e) { show(e); }
    try { net.fetch("nowhere"); } catch (e) { show(e); }
    try { net.fetch(origin, { auth: "NONE" }); } catch (e) { show(e); }
    await fetch(origin, { redirect: "sometimes" }).catch(show);
    for (const timeout of ["soon", NaN, -1]) await fetch(origin, { timeout }).catch(show);
    """
    assert run(code, server) == [
        "TypeError true NET_BLOCKED false undefined",
        "TypeError true NET_TIMEOUT false undefined",
        "NetError false NET_TIMEOUT false undefined",
        "NetError false NET_BLOCKED false undefined",
        "NetError false NET_AUTH false undefined",
        *["TypeError true NET_BLOCKED false undefined"] * 4,
    ]


def test_when_to_try_again(net):
    """A call that came too fast says after how many seconds another one may be made."""
    server = net.server()
    code = """
    await fetch(origin);
    const show = (e) => console.log(e.code, e.retryable, 0 < e.retryAfter && e.retryAfter <= 60);
    await fetch(origin).catch(show);
    """
    entry = {"host": "a.example.com", "ports": [server.port], "rate_limit": 1}
    policy = cloche.Policy(net=cloche.NetPolicy(allow=[entry]))
    text = f'const origin = "https://a.example.com:{server.port}";\n{code}'
    result = cloche.run(text, language="javascript", policy=policy)
    assert result.run.stdout == "NET_RATE true true\n"


def test_uncaught_failure_is_shown(net):
    """A failure that nobody catches names its code."""
    with pytest.raises(cloche.RuntimeFailedError) as caught:
        cloche.run('await fetch("https://a.example.com/")', language="javascript")
    assert caught.value.message == (
        "TypeError: NET_BLOCKED: outbound HTTP is not allowed here: policy denies http.fetch "
        "'GET https://a.example.com': no rule allows it"
    )


def test_abort(net):
    """A call is given up before it begins, while it is on its way, and after a time."""
    is_on_its_way = asyncio.Event()

    async def answer(request):
        if request.target == "/silent":
            is_on_its_way.set()
            return silent
        await is_on_its_way.wait()
        return OK

    server = net.server(answer=answer)
    code = """
    const show = (e) => console.log(e.name, e.code, e.message);
    await fetch(origin, { signal: AbortSignal.abort() }).catch(show);
    await fetch(origin, { signal: AbortSignal.abort(new Error("mine")) }).catch(show);
    const controller = new AbortController();
    const call = fetch(origin + "/silent", { signal: controller.signal });
    console.log((await fetch(origin)).status);
    controller.abort();
    await call.catch(show);
    await fetch(origin + "/silent", { signal: AbortSignal.timeout(20) }).catch(show);
    console.log((await fetch(origin, { signal: AbortSignal.timeout(60000) })).status);
    """
    assert run(code, server) == [
        "AbortError 20 This operation was aborted",
        "Error undefined mine",
        "200",
        "AbortError 20 This operation was aborted",
        "TimeoutError 23 The operation was aborted due to timeout",
        "200",
    ]
    # The last one that is given up, after 20 ms, may not have come so far as to the server.
    targets = [request.target for request in server.requests]
    assert sorted(targets[:2]) == ["/", "/silent"]
    assert sorted(set(targets[2:]) - {"/silent"}) == ["/"]


def test_a_run_ends_without_its_abandoned_calls(net):
    """Nobody waits for a call that was given up, and its connection is closed with the run."""
    server = net.server(answer=lambda _: silent)
    code = """
    const controller = new AbortController();
    const call = fetch(origin, { signal: controller.signal });
    setTimeout(() => controller.abort(), 30);
    await call.catch((e) => console.log(e.name));
    """
    assert run(code, server) == ["AbortError"]
    net.settle()


def test_net_fetch(net):
    """The call that waits: status, headers by name, text, bytes, JSON."""
    server = net.server(answer=echo)
    code = """
    const r = net.fetch(origin + "/n", { method: "POST", headers: { "X-A": "1" }, body: "hi" });
    console.log(r.status, r.ok, r.url === origin + "/n", r.headers["Content-Type"],
      r.headers.get("content-type"), r.headers["none"], "content-type" in r.headers);
    console.log(r.json().method, r.json().body, r.text().length === r.bytes().length);
    """
    assert run(code, server) == [
        "200 true true application/json application/json undefined true",
        "POST hi true",
    ]


def test_secrets(net):
    """A program names a secret and never sees it: neither in the answer nor anywhere else."""
    value = "s3cret-value-0123456789"
    server = net.server(answer=echo)
    net.world.secrets["KEY"] = Secret(
        name="KEY", value=value, domains=("a.example.com",), ports=(server.port,)
    )
    code = """
    const seen = net.fetch(origin, { auth: "KEY" }).json().headers;
    console.log(Object.fromEntries(seen).authorization);
    console.log(await (await fetch(origin, { auth: "KEY" })).text());
    """
    lines = run(code, server, secrets=["KEY"])
    assert lines[0] == "Bearer [secret:KEY]"
    assert value not in json.dumps(lines)
    assert server.requests[1].header("authorization") == [f"Bearer {value}"]


def test_names_that_programs_read():
    """Classes and functions are called what the standard calls them, and do not show in loops."""
    code = """
    console.log([fetch, Headers, Request, Response].map((f) => f.name).join());
    console.log(Object.keys(globalThis).filter((k) => /fetch|net|Re/.test(k)).length);
    console.log(String(new Response("x")), typeof net.fetch);
    """
    result = cloche.run(code, language="javascript")
    assert result.run.stdout.splitlines() == [
        "fetch,Headers,Request,Response",
        "0",
        "[object Response] function",
    ]
