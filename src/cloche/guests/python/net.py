"""Outbound HTTP of programs: the module `net`, on which `http.client` and `requests` stand.

Every call is an effect of kind `http.fetch`. Nothing here decides where a program may go: the host
does. The modules that are offered are loaded with the image and found last, so that a program's own
file of the same name comes first.
"""

import base64
import importlib.abc
import importlib.machinery
import json as _json
import re
import sys
import types
from asyncio import events
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from _cloche import host, tools

_KIND = "http.fetch"
_USUAL_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
_PORTS = {"http": 80, "https": 443}
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
_SAFE = "%/:?#[]@!$&'()*+,;=-._~"  # what a path or a query may hold; the rest is percent-encoded


class NetError(host.EffectError, OSError):
    """A call that ended without a response.

    Attributes:
        code: NET_BLOCKED, NET_TIMEOUT, NET_LIMIT, NET_BUDGET, NET_SIZE, NET_ERROR, NET_AUTH,
            NET_RATE.
        message: for people.
        retryable: whether the same call may succeed later.
        retry_after: in how many seconds, if known.
    """

    @property
    def retry_after(self):
        return None if self.retry_after_ms is None else self.retry_after_ms / 1000


class NetTimeout(NetError, TimeoutError):
    """A call that took too long."""


NetError.__module__ = NetTimeout.__module__ = "net"


def _failure(error):
    code, message = error.code, error.message
    if code == "POLICY_DENIED":
        # Without rules of outbound HTTP the gate refuses before anybody looks at hosts.
        code, message = "NET_BLOCKED", f"outbound HTTP is not allowed here: {message}"
    make = NetTimeout if code == "NET_TIMEOUT" else NetError
    return make(code, message, error.retryable, error.retry_after_ms)


class Headers(Mapping):
    """The fields of a response: found in any case, in the order of the response.

    `headers[name]` joins the values of a field with commas; `get_all` has them one by one.
    """

    def __init__(self, pairs=()):
        self._values = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name):
        return ", ".join(self._values[name.lower()])

    def __contains__(self, name):
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def get_all(self, name):
        """Return every value of a field; an empty list where there is none."""
        return list(self._values.get(name.lower(), ()))

    def __repr__(self):
        return f"Headers({dict(self)})"


class Response:
    """What came back.

    Attributes:
        status: number, such as 200. `ok` is whether it is 200 to 299.
        reason: words beside it.
        url: of the last request, after redirects; `redirected` is whether there were any.
        headers: `Headers`.
        content: the body, bytes. `text` is the same as text.
    """

    def __init__(self, value):
        self.status = value["status"]
        self.reason = value["reason"]
        self.url = value["url"]
        self.redirected = value["redirected"]
        self.pairs = value["headers"]
        self.headers = Headers(self.pairs)
        body = value["body"]
        self.content = body.encode() if isinstance(body, str) else base64.b64decode(body["base64"])

    @property
    def ok(self):
        return 200 <= self.status <= 299

    @property
    def text(self):
        found = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return self.content.decode(found[1] if found else "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self):
        """Return the body as JSON. Raises ValueError where it is none."""
        return _json.loads(self.content)

    def __repr__(self):
        return f"<Response {self.status} {self.url}>"


for _class in (Headers, Response):
    _class.__module__ = "net"


def fetch(
    url,
    *,
    method="GET",
    headers=None,
    body=None,
    json=None,
    timeout=None,
    auth=None,
    redirect="follow",
):
    """Make a call and return its response, whatever its status.

    Args:
        url: http or https.
        method: GET, POST and so on.
        headers: a mapping, or a list of pairs.
        body: text or bytes.
        json: anything, to be sent as JSON instead of a body.
        timeout: seconds.
        auth: name of a secret that the host puts in.
        redirect: "follow", "manual" (return it) or "error".

    Raises:
        NetError: there is no response.
    """
    effect = _effect(url, method, headers, body, json, timeout, auth, redirect)
    try:
        return Response(host.effect(_KIND, *effect))
    except host.EffectError as error:
        raise _failure(error) from None


async def afetch(
    url,
    *,
    method="GET",
    headers=None,
    body=None,
    json=None,
    timeout=None,
    auth=None,
    redirect="follow",
):
    """Make a call as `fetch` does; others go on meanwhile."""
    effect = _effect(url, method, headers, body, json, timeout, auth, redirect)
    future = events.get_running_loop().create_future()
    host.submit(_KIND, *effect, future)
    number = host._next_id
    try:
        return Response(await future)
    except host.EffectError as error:
        raise _failure(error) from None
    finally:
        host.abandon(number)  # does nothing where it is complete


def _effect(url, method, headers, body, json, timeout, auth, redirect):
    """Return target and args of the effect that a call is."""
    method = str(method)
    if method.upper() in _USUAL_METHODS:
        method = method.upper()
    origin, url = _parsed(url)
    pairs = header_pairs(headers)
    if json is not None:
        body = _json.dumps(json, allow_nan=False)
        if not any(name.lower() == "content-type" for name, _ in pairs):
            pairs.append(["Content-Type", "application/json"])
    args = {"url": url, "method": method, "headers": pairs}
    if body is not None:
        args["body"] = _body(body)
    if timeout is not None and timeout != float("inf"):
        # JSON has no NaN; it goes as text, and the host refuses it.
        args["timeout_ms"] = str(timeout) if timeout != timeout else timeout * 1000
    if auth is not None:
        args["auth"] = auth
    if redirect != "follow":
        args["redirect"] = redirect
    return f"{method} {origin}", args


def _parsed(url):
    """Return origin and URL as the host writes them."""
    try:
        parts = urlsplit(url if isinstance(url, str) else str(url))
        name, port = parts.hostname or "", parts.port
        if not name.isascii():
            name = name.encode("idna").decode()
    except ValueError as error:
        raise NetError("NET_BLOCKED", f"this URL is refused: {error}") from None
    if parts.scheme not in _PORTS or not name:
        raise NetError(
            "NET_BLOCKED", "this URL is refused: it must be http:// or https:// and a host"
        )
    shown = f"[{name}]" if ":" in name else name.removesuffix(".")
    if port is not None and port != _PORTS[parts.scheme]:
        shown += f":{port}"
    origin = f"{parts.scheme}://{shown}"
    # The host is to see a user, and to refuse it.
    user, at, _ = parts.netloc.rpartition("@")
    rest = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        rest += "?" + quote(parts.query, safe=_SAFE)
    return origin, f"{parts.scheme}://{user}{at}{shown}{rest}"


def header_pairs(headers):
    """Return headers as a list of pairs of text."""
    if headers is None:
        return []
    pairs = headers.items() if hasattr(headers, "items") else headers
    return [[_text(name), _text(value)] for name, value in pairs]


def _text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body(body):
    if isinstance(body, str):
        return body
    data = bytes(body)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# --- what is offered ---


class _Offer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that were loaded with the image; last, after all files."""

    def __init__(self):
        self.modules = {}

    def find_spec(self, fullname, path=None, target=None):
        module = self.modules.get(fullname)
        if module is None:
            return None
        parent = fullname.rpartition(".")[0]
        if parent and sys.modules.get(parent) is not self.modules[parent]:
            return None  # the program has a package of that name
        is_package = any(name.startswith(f"{fullname}.") for name in self.modules)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def create_module(self, spec):
        return self.modules[spec.name]

    def exec_module(self, module):
        pass


_offer = _Offer()
sys.meta_path.append(_offer)


def offer(name, doc, names):
    """Let programs import a module that has these names."""
    module = types.ModuleType(name, doc)
    module.__dict__.update(names)
    _offer.modules[name] = module
    return module


tools.module.net = offer(
    "net",
    "Outbound HTTP: `net.fetch(url)`, `await net.afetch(url)`.",
    {
        "fetch": fetch,
        "afetch": afetch,
        "Response": Response,
        "Headers": Headers,
        "NetError": NetError,
        "NetTimeout": NetTimeout,
    },
)
