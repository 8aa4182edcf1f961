"""Outbound HTTP of Python programs: net, urllib.request, http.client and requests."""

from __future__ import annotations

import gzip
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
    text = f'origin = "https://a.example.com:{server.port}"\n{code}'
    result = cloche.run(
        text,
        language="python",
        policy=allowing(server, *hosts, **policy),
        limits=cloche.load_limits(CALLS),
    )
    assert result.run.stderr == "", result.run.stderr
    return result.run.stdout.splitlines()


def test_fetch(net):
    """A response has status, headers in any case, text, bytes and JSON."""
    server = net.server(
        answer=response("201 Made", '{"a": "é"}'.encode(), X_Two="a", Content_Type="text/plain")
    )
    code = """
import net
r = net.fetch(origin + "/a b?c=é#d")
print(r.status, r.reason, r.ok, r.redirected, r.url == origin + "/a%20b?c=%C3%A9", r)
print(r.headers["X-TWO"], r.headers.get("none"), "x-two" in r.headers, r.headers.get_all("x-two"))
print(r.text, len(r.content), r.json()["a"], sorted(r.headers))
"""
    assert run(code, server) == [
        (
            f"201 Made True False True <Response 201 https://a.example.com:{server.port}"
            "/a%20b?c=%C3%A9>"
        ),
        "a None True ['a']",
        "{\"a\": \"é\"} 11 é ['content-length', 'content-type', 'x-two']",
    ]
    assert server.requests[0].target == "/a%20b?c=%C3%A9"


def test_fetch_sends(net):
    """Method, headers and a body of text, bytes or JSON arrive as they were given."""
    server = net.server(answer=echo)
    code = """
import net
for options in (
    {"body": "é"}, {"body": b"\\xff\\x00"}, {"json": {"a": [1]}},
    {"headers": {"X-A": 1, "Content-Type": "a/b"}, "json": 1},
    {"headers": [("x-a", "1"), ("x-a", "2")]},
):
    sent = net.fetch(origin, method="post", **options).json()
    shown = [pair for pair in sent["headers"] if pair[0] in ("x-a", "content-type")]
    print(sent["method"], ascii(sent["body"]), shown)
"""
    assert run(code, server) == [
        r"POST '\xc3\xa9' []",
        r"POST '\xff\x00' []",
        "POST '{\"a\": [1]}' [['content-type', 'application/json']]",
        "POST '1' [['x-a', '1'], ['content-type', 'a/b']]",
        "POST '' [['x-a', '1'], ['x-a', '2']]",
    ]


def test_failures(net):
    """A failure is a NetError with a code, a timeout also a TimeoutError; all are OSErrors."""
    server = net.server(answer=lambda _: silent)
    code = """
import net
for url, options in (
    ("https://b.example.com/", {}), (origin, {"timeout": 0.03}), ("nowhere", {}),
    ("https://a:b:c/", {}),
    ("https://u:p@a.example.com/", {}), (origin, {"auth": "NONE"}), (origin, {"redirect": "x"}),
    (origin, {"timeout": "soon"}), (origin, {"timeout": float("nan")}), (origin, {"timeout": -1}),
):
    try:
        net.fetch(url, **options)
    except net.NetError as error:
        print(type(error).__name__, error.code, error.retryable, error.retry_after,
              isinstance(error, OSError), isinstance(error, TimeoutError))
"""
    blocked = "NetError NET_BLOCKED False None True False"
    assert run(code, server) == [
        blocked,
        "NetTimeout NET_TIMEOUT False None True True",
        blocked,
        blocked,
        blocked,
        "NetError NET_AUTH False None True False",
        *[blocked] * 4,
    ]
    assert server.requests[1:] == []


def test_when_to_try_again(net):
    """A call that came too fast says after how many seconds another one may be made."""
    server = net.server()
    entry = {"host": "a.example.com", "ports": [server.port], "rate_limit": 1}
    code = f"""
import net
url = "https://a.example.com:{server.port}"
net.fetch(url)
try:
    net.fetch(url)
except net.NetError as error:
    print(error.code, error.retryable, 0 < error.retry_after <= 60)
"""
    policy = cloche.Policy(net=cloche.NetPolicy(allow=[entry]))
    assert cloche.run(code, policy=policy).run.stdout == "NET_RATE True True\n"


def test_without_a_policy():
    """Where outbound HTTP is not allowed, every way says so, with the code."""
    code = """
import http.client, net, requests, urllib.error, urllib.request
url = "https://a.example.com/"
try:
    net.fetch(url)
except net.NetError as error:
    print(error)
try:
    urllib.request.urlopen(url)
except urllib.error.URLError as error:
    print(error.reason.code)
try:
    requests.get(url)
except requests.ConnectionError as error:
    print(error.code, error.request.method)
connection = http.client.HTTPSConnection("a.example.com")
try:
    connection.request("GET", "/")
except OSError as error:
    print(error.code)
"""
    assert cloche.run(code).run.stdout.splitlines() == [
        (
            "NET_BLOCKED: outbound HTTP is not allowed here: policy denies http.fetch "
            "'GET https://a.example.com': no rule allows it"
        ),
        "NET_BLOCKED",
        "NET_BLOCKED GET",
        "NET_BLOCKED",
    ]


@pytest.mark.parametrize("way", ["asyncio.run(main())", "await main()"])
def test_calls_overlap(net, way):
    """Ten calls of `gather` are on their way at once."""
    server = net.server(answer=together(10, echo))
    code = f"""
import asyncio, net
async def main():
    all = await asyncio.gather(*(net.afetch(f"{{origin}}/{{i}}") for i in range(10)))
    print("".join(r.json()["target"] for r in all))
{way}
"""
    assert run(code, server) == ["/0/1/2/3/4/5/6/7/8/9"]


def test_giving_up(net):
    """A call that is cancelled keeps nobody waiting; its failure is raised where it is awaited."""
    server = net.server(answer=lambda r: silent if r.target == "/silent" else OK)
    code = """
import asyncio, net, time
try:
    await asyncio.wait_for(net.afetch(origin + "/silent"), 0.03)
except TimeoutError as error:
    print(type(error).__name__)
began = time.time()
await asyncio.sleep(1000)
print(round(time.time() - began))
print((await net.afetch(origin)).text)
try:
    await net.afetch("https://b.example.com/")
except net.NetError as error:
    print(error.code)
"""
    assert run(code, server) == ["TimeoutError", "1000", "ok", "NET_BLOCKED"]


def test_urlopen(net):
    """Urlopen reads and sends; headers, status and URL are where programs look for them."""
    server = net.server(answer=lambda r: redirect("/end?x=1") if r.target == "/go" else echo(r))
    code = """
import json, urllib.request
with urllib.request.urlopen(origin + "/x") as r:
    print(r.status, r.getcode(), r.headers.get_content_type(), r.headers["Content-Type"], r.reason)
    print(json.load(r)["target"], r.read(), r.geturl() == origin + "/x")
data = urllib.parse.urlencode({"a": "b c"}).encode()
sent = json.load(urllib.request.urlopen(origin, data, timeout=5))
print(sent["method"], sent["body"], dict(sent["headers"])["content-type"])
request = urllib.request.Request(origin, data=b"{}", headers={"X-A": "1"}, method="PUT")
sent = json.load(urllib.request.urlopen(request))
print(sent["method"], sent["body"], dict(sent["headers"])["x-a"])
r = urllib.request.urlopen(origin + "/go")
print(r.url == origin + "/end?x=1", json.load(r)["target"])
for line in urllib.request.urlopen(origin):
    print(len(line) > 10)
def parts():
    yield b"a" * 3
    yield b"b" * 20
r = urllib.request.urlopen(urllib.request.Request(origin, parts(), {"Content-Type": "x/y"}))
print(json.load(r)["body"])
"""
    assert run(code, server) == [
        "200 200 application/json application/json OK",
        "/x b'' True",
        "POST a=b+c application/x-www-form-urlencoded",
        "PUT {} 1",
        "True /end?x=1",
        "True",
        "aaa" + "b" * 20,
    ]


def test_urlopen_fails(net):
    """A status of failure is an HTTPError with its body; no response is a URLError with a code."""
    server = net.server(
        answer=lambda r: silent if r.target == "/silent" else response("404 Not Found", b"gone")
    )
    code = """
import urllib.request, urllib.error
try:
    urllib.request.urlopen(origin)
except urllib.error.HTTPError as error:
    print(error.code, error.reason, error.read(), error.headers["content-length"])
try:
    urllib.request.urlopen(origin + "/silent", timeout=0.03)
except urllib.error.URLError as error:
    print(type(error.reason).__name__, error.reason.code, isinstance(error.reason, TimeoutError))
try:
    urllib.request.urlopen("https://b.example.com")
except OSError as error:
    print(error.reason.code)
"""
    assert run(code, server) == [
        "404 Not Found b'gone' 4",
        "NetTimeout NET_TIMEOUT True",
        "NET_BLOCKED",
    ]


def test_http_client(net):
    """A connection carries several requests; HEAD has no body; parts of a body are put together."""
    server = net.server(
        answer=lambda r: (
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" if r.method == "HEAD" else echo(r)
        )
    )
    code = """
import http.client, json
c = http.client.HTTPSConnection("a.example.com", int(origin.rpartition(":")[2]), timeout=5)
c.request("GET", "/1", headers={"X-A": "1"})
r = c.getresponse()
print(r.status, r.reason, r.getheader("content-type"), json.loads(r.read())["target"], r.isclosed())
c.request("HEAD", "/2")
r = c.getresponse()
print(r.getheader("Content-Length"), r.read())
c.putrequest("POST", "/3")
c.putheader("Content-Length", "5")
c.endheaders()
c.send(b"he")
c.send(b"llo")
print(json.loads(c.getresponse().read())["body"])
c.request("POST", "/4", body=iter([b"x" * 3, b"0\\r\\n\\r\\n", b"y"]), encode_chunked=True,
          headers={"Transfer-Encoding": "chunked"})
print(ascii(json.loads(c.getresponse().read())["body"]))
c.close()
"""
    assert run(code, server) == [
        "200 OK application/json /1 True",
        "7 b''",
        "hello",
        r"'xxx0\r\n\r\ny'",
    ]


def test_requests(net):
    """What programs usually do with requests works as it does elsewhere."""
    server = net.server(answer=echo)
    code = """
import requests
find = lambda headers: dict(headers)["authorization"]
params = {"a": [1, 2], "b": None, "c": "d e"}
r = requests.get(origin + "/g?z=0", params=params, headers={"X-A": "1"})
print(r.status_code, r.ok, bool(r), r.reason, r.headers["CONTENT-TYPE"], r.encoding, r)
print(r.json()["target"], r.url == origin + "/g?z=0&a=1&a=2&c=d+e", r.request.method, r.history)
for name in ("post", "put", "patch"):
    sent = getattr(requests, name)(origin, json={"a": "é"}).json()
    print(sent["method"], sent["body"], dict(sent["headers"])["content-type"])
sent = requests.post(origin, data={"a": ["b", "c"]}).json()
print(sent["body"], dict(sent["headers"])["content-type"])
print(requests.delete(origin).json()["method"], requests.options(origin).json()["method"])
print(find(requests.request("get", origin, data=b"", auth=("u", "p")).json()["headers"]))
print(requests.codes.ok, requests.codes["NOT_FOUND"])
print(dict(requests.post(origin, data=b"raw").json()["headers"]).get("content-type"))
"""
    lines = run(code, server)
    assert lines == [
        "200 True True OK application/json utf-8 <Response [200]>",
        "/g?z=0&a=1&a=2&c=d+e True GET []",
        *[f'{name} {{"a": "\\u00e9"}} application/json' for name in ("POST", "PUT", "PATCH")],
        "a=b&a=c application/x-www-form-urlencoded",
        "DELETE OPTIONS",
        "Basic dTpw",
        "200 404",
        "None",
    ]


def test_requests_bodies(net):
    """A body is read as text in its encoding, as bytes, in parts, by lines, and unpacked."""
    answers = {
        "/latin": response(body="é".encode("latin-1"), Content_Type="text/html"),
        "/utf": response(body="é\nb".encode(), Content_Type="text/plain; charset=utf-8"),
        "/zip": response(body=gzip.compress(b"packed"), Content_Encoding="gzip"),
        "/none": response("204 No Content"),
        "/bad": response("503 Busy", b"no json", Link='<https://a.b/?p=2>; rel="next"'),
    }
    server = net.server(answer=lambda r: answers[r.target])
    code = """
import requests
with requests.Session() as s:
    print(s.get(origin + "/latin").text, s.get(origin + "/utf").text)
    r = s.get(origin + "/utf", stream=True)
    print(list(r.iter_content(2)), list(r.iter_lines(decode_unicode=True)), r.content)
    print(r.raw.read(1))
    print(s.get(origin + "/zip").text, s.get(origin + "/none").content)
    r = s.get(origin + "/bad")
    print(r.ok, bool(r), r.links["next"]["url"])
    try:
        r.raise_for_status()
    except requests.HTTPError as error:
        print(str(error).replace(origin, ""), error.response.status_code)
    try:
        r.json()
    except requests.exceptions.JSONDecodeError as error:
        print(isinstance(error, ValueError), error.response is r, error)
"""
    assert run(code, server) == [
        "é é",
        "b",
        "[b'\\xc3\\xa9', b'\\nb'] ['é', 'b'] b'\\xc3\\xa9\\nb'",
        "b'\\xc3'",
        "packed b''",
        "False False https://a.b/?p=2",
        "503 Server Error: Busy for url: /bad 503",
        "True True Expecting value: line 1 column 1 (char 0)",
    ]


def test_requests_fail(net):
    """Failures are the exceptions that programs catch, and carry the code."""
    server = net.server(answer=lambda r: silent if r.target == "/silent" else redirect("/x"))
    code = """
import requests
from requests.exceptions import (
    ConnectionError, InvalidHeader, InvalidSchema, MissingSchema, RequestException, Timeout,
)
for call in (
    lambda: requests.get("https://b.example.com/"),
    lambda: requests.get(origin + "/silent", timeout=(0.01, 0.02)),
    lambda: requests.get("a.example.com"), lambda: requests.get("ftp://a.example.com/"),
    lambda: requests.get(origin, headers={"a": 1}), lambda: requests.get(origin + "/loop"),
):
    try:
        print(call())
    except RequestException as error:
        print(type(error).__name__, error.code, isinstance(error, (ConnectionError, ValueError)),
              isinstance(error, Timeout))
r = requests.get(origin, allow_redirects=False)
print(r.is_redirect, r.next.path_url, requests.head(origin).status_code)
made = requests.Request("POST", origin, params={"a": 1}, data="x").prepare()
print(made, made.path_url, made.body, requests.Session().send(made, allow_redirects=False).ok)
print(RequestException.__module__, requests.Session.__module__, type(r).__module__)
"""
    assert run(code, server) == [
        "ConnectionError NET_BLOCKED True False",
        "ReadTimeout NET_TIMEOUT False True",
        "MissingSchema None True False",
        "InvalidSchema None True False",
        "InvalidHeader None True False",
        "ConnectionError NET_BLOCKED True False",
        "True /x 302",
        "<PreparedRequest [POST]> /?a=1 x True",
        "requests.exceptions requests.sessions requests.models",
    ]


def test_requests_session(net):
    """A session keeps headers, parameters, authorization, and the cookies of each host."""
    cookie = response(body=b"{}", Set_Cookie="a=1; Path=/")
    server = net.server(answer=lambda r: cookie if r.target == "/in" else echo(r))
    code = """
import requests
s = requests.Session()
s.headers.update({"X-A": "1", "X-B": "1", "User-Agent": "me"})
s.auth = ("u", "p")
s.params = {"k": "v"}
sent = s.get(origin, headers={"x-a": "2", "x-b": None}).json()
names = dict(sent["headers"])
print(sent["target"], names["x-a"], names["user-agent"], names["authorization"], "x-b" in names)
print(s.get(origin + "/in", params={}, auth=None).cookies)
"""
    lines = run(code, server)
    assert lines[0] == "/?k=v 2 me Basic dTpw False"
    code = """
import requests
s = requests.Session()
print(s.get(origin + "/in").cookies)
print(dict(s.get(origin, cookies={"b": "2"}).json()["headers"])["cookie"])
"""
    assert run(code, server, cookies=True) == ["{'a': '1'}", "a=1; b=2"]


def test_requests_files(net):
    """Files are sent as a form of several parts."""
    server = net.server(answer=echo)
    code = """
import io, requests
pathlib = __import__("pathlib")
pathlib.Path("/f.txt").write_text("content")
sent = requests.post(origin, data={"a": "1"}, files={
    "f": open("/f.txt", "rb"), "g": ("n.bin", b"xx", "a/b"),
}).json()
kind = dict(sent["headers"])["content-type"]
print(sent["body"].replace(kind.partition("boundary=")[2], "BOUNDARY").replace("\\r\\n", "|"))
"""
    assert run(code, server) == [
        (
            '--BOUNDARY|Content-Disposition: form-data; name="a"||1|'
            '--BOUNDARY|Content-Disposition: form-data; name="f"; filename="f.txt"||content|'
            '--BOUNDARY|Content-Disposition: form-data; name="g"; filename="n.bin"|'
            "Content-Type: a/b||xx|--BOUNDARY--|"
        )
    ]


def test_secrets(net):
    """Every way of calling can use a secret by name, and none sees its value."""
    value = "s3cret-value-0123456789"
    server = net.server(answer=echo)
    ports = (server.port,)
    for name, inject_as in (("KEY", "bearer"), ("TOKEN", "placeholder")):
        net.world.secrets[name] = Secret(
            name=name,
            value=value + name,
            domains=("a.example.com",),
            ports=ports,
            inject_as=inject_as,
        )
    code = """
import json, net, requests, urllib.request
print(dict(net.fetch(origin, auth="KEY").json()["headers"])["authorization"])
print(dict(requests.get(origin, auth="KEY").json()["headers"])["authorization"])
headers = {"X-Token": "{{secret:TOKEN}}"}
print(dict(requests.get(origin, headers=headers).json()["headers"])["x-token"])
request = urllib.request.Request(origin, b"t={{secret:TOKEN}}", headers)
print(json.load(urllib.request.urlopen(request))["body"])
"""
    lines = run(code, server, secrets=["KEY", "TOKEN"])
    assert lines == ["Bearer [secret:KEY]"] * 2 + ["[secret:TOKEN]", "t=[secret:TOKEN]"]
    assert value not in json.dumps(lines)
    assert [request.body for request in server.requests][-1] == f"t={value}TOKEN".encode()


def test_files_of_the_program_come_first():
    """A program's own module of the same name is the one that it gets, with its own parts."""
    files = {
        "/net.py": "print('my net')",
        "/requests/__init__.py": "print('my requests')",
        "/requests/own.py": "print('my part')",
    }
    stored = [cloche.File(name=name, content=text.encode()) for name, text in files.items()]
    code = """
import net, requests, requests.own
try:
    import requests.exceptions
except ModuleNotFoundError as error:
    print(error)
"""
    assert cloche.run(code, files=stored).run.stdout.splitlines() == [
        "my net",
        "my requests",
        "my part",
        "No module named 'requests.exceptions'",
    ]


def test_modules_are_loaded_when_they_are_imported():
    """A program that calls nobody has none of the modules; every usual import of them works."""
    code = """
import sys
print([name for name in sys.modules if name.split(".")[0] in ("net", "requests")])
from requests.auth import HTTPBasicAuth
from requests.adapters import HTTPAdapter
import requests.exceptions, cloche, net
print(requests.exceptions.HTTPError is requests.HTTPError, cloche.net is net, net.fetch.__name__)
session = requests.Session()
session.mount("https://", HTTPAdapter(max_retries=3))
"""
    assert cloche.run(code).run.stdout.splitlines() == ["[]", "True True fetch"]


def test_a_session_forgets_calls(net, tmp_path, monkeypatch):
    """A call that a run left behind keeps no later run of the session waiting."""
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "cloche.db"))
    server = net.server(answer=lambda _: silent)
    url = f"https://a.example.com:{server.port}/"
    leave = f"""
import asyncio, net
task = asyncio.get_running_loop().create_task(net.afetch({url!r}))
await asyncio.sleep(0)
"""
    with cloche.Session.create("python") as session:
        session.run(leave, policy=allowing(server))
        assert session.run("await asyncio.sleep(1000); print('on')").run.stdout == "on\n"
        with pytest.raises(cloche.RuntimeFailedError, match="can never happen"):
            session.run("await asyncio.get_running_loop().create_future()")
