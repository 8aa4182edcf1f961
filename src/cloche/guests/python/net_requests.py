"""The module `requests`: what programs usually call of it, through the gate.

Redirects are followed by the host, so `history` stays empty; certificates are always checked;
`auth` may also be the name of a secret, which the host puts in.
"""

import time
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from _cloche import net
from _cloche.net_messages import (
    ERRORS,
    AuthBase,
    CaseInsensitiveDict,
    HTTPBasicAuth,
    PreparedRequest,
    Request,
    Response,
    body_of,
    codes,
    failed,
    response_of,
    with_params,
)

_VERSION = "2.32.0"
_ANY = {"Accept": "*/*", "User-Agent": f"python-requests/{_VERSION}"}


# --- sessions ---


class Session:
    """What several requests have in common."""

    def __init__(self):
        self.headers = CaseInsensitiveDict(_ANY)
        self.auth = None
        self.params = {}
        self.cookies = {}
        self._received = {}  # host -> cookies
        self.hooks = {"response": []}
        self.verify, self.cert, self.proxies, self.stream = True, None, {}, False
        self.trust_env, self.max_redirects, self.adapters = False, 30, {}

    def prepare_request(self, request):
        made = PreparedRequest()
        made.method = str(request.method).upper()
        params = (
            {**self.params, **request.params}
            if isinstance(request.params, Mapping)
            else request.params
        )
        made.url = with_params(request.url, params)
        parts = urlsplit(made.url)
        made.headers = self.headers.copy()
        for name, value in dict(request.headers).items():
            if value is None:
                made.headers.pop(name, None)
            else:
                made.headers[name] = _checked(name, value)
        made.body, kind = body_of(request.data, request.files, request.json)
        if kind and "content-type" not in made.headers:
            made.headers["Content-Type"] = kind
        cookies = {
            **self._received.get(parts.hostname, {}),
            **self.cookies,
            **(request.cookies or {}),
        }
        if cookies and "cookie" not in made.headers:
            made.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        auth = request.auth or self.auth
        if auth is None and parts.username is not None:
            auth = unquote(parts.username), unquote(parts.password or "")
        if parts.username is not None:
            netloc = parts.netloc.rpartition("@")[2]
            made.url = urlunsplit(parts._replace(netloc=netloc))
        if isinstance(auth, tuple):
            auth = HTTPBasicAuth(*auth)
        if isinstance(auth, str):
            made.secret = auth
        elif auth is not None:
            made = auth(made)
        hooks = (request.hooks or {}).get("response", [])
        made.hooks = [*self.hooks["response"], *([hooks] if callable(hooks) else hooks)]
        return made

    def send(self, request, timeout=None, allow_redirects=True, **ignored):
        """Make the call."""
        if isinstance(timeout, tuple):
            known = [part for part in timeout if part is not None]
            timeout = sum(known) if known else None
        started_s = time.perf_counter()
        try:
            value = net.fetch(
                request.url,
                method=request.method,
                headers=request.headers,
                body=request.body,
                timeout=timeout,
                auth=request.secret,
                redirect="follow" if allow_redirects else "manual",
            )
        except net.NetError as error:
            raise failed(error, request) from None
        response = response_of(value, request, time.perf_counter() - started_s)
        host = urlsplit(response.url).hostname
        if response.cookies:
            self._received.setdefault(host, {}).update(response.cookies)
        for hook in request.hooks or ():
            response = hook(response) or response
        return response

    def request(
        self,
        method,
        url,
        params=None,
        data=None,
        headers=None,
        cookies=None,
        files=None,
        auth=None,
        timeout=None,
        allow_redirects=True,
        proxies=None,
        hooks=None,
        stream=None,
        verify=None,
        cert=None,
        json=None,
    ):
        """Make a call; redirects are followed by the host, certificates always checked."""
        asked = Request(method, url, headers, files, data, params, auth, cookies, hooks, json)
        return self.send(self.prepare_request(asked), timeout, allow_redirects)

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def options(self, url, **options):
        return self.request("OPTIONS", url, **options)

    def head(self, url, **options):
        return self.request("HEAD", url, **{"allow_redirects": False, **options})

    def post(self, url, data=None, json=None, **options):
        return self.request("POST", url, data=data, json=json, **options)

    def put(self, url, data=None, **options):
        return self.request("PUT", url, data=data, **options)

    def patch(self, url, data=None, **options):
        return self.request("PATCH", url, data=data, **options)

    def delete(self, url, **options):
        return self.request("DELETE", url, **options)

    def mount(self, prefix, adapter):
        self.adapters[prefix] = adapter

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _prepare(self):
    return Session().prepare_request(self)


Request.prepare = _prepare


def _checked(name, value):
    if not isinstance(value, str | bytes):
        raise ERRORS["InvalidHeader"](
            f"Header part ({value!r}) from ({name!r}, {value!r}) must be of type str or bytes, "
            f"not {type(value)}"
        )
    return value.strip()


class HTTPAdapter:
    """Takes what programs give it; the host has connections, and the program its own retries."""

    def __init__(self, *args, **options):
        pass

    def close(self):
        pass


def request(method, url, **options):
    """Make one call; see `Session.request`."""
    return Session().request(method, url, **options)


def get(url, params=None, **options):
    """GET."""
    return request("GET", url, params=params, **options)


def options(url, **given):
    """OPTIONS."""
    return request("OPTIONS", url, **given)


def head(url, **options):
    """HEAD, without following redirects."""
    return request("HEAD", url, **{"allow_redirects": False, **options})


def post(url, data=None, json=None, **options):
    """POST."""
    return request("POST", url, data=data, json=json, **options)


def put(url, data=None, **options):
    """PUT."""
    return request("PUT", url, data=data, **options)


def patch(url, data=None, **options):
    """PATCH."""
    return request("PATCH", url, data=data, **options)


def delete(url, **options):
    """DELETE."""
    return request("DELETE", url, **options)


def session():
    """Return a new session."""
    return Session()


def _offer():
    """Make the package and the modules that programs import from it."""
    here = globals()
    calls = "request get options head post put patch delete session Session Request".split()
    models = ["Request", "PreparedRequest", "Response"]
    shown = {name: here[name] for name in (*calls, *models, "codes")}
    inner = {
        "exceptions": ERRORS,
        "structures": {"CaseInsensitiveDict": CaseInsensitiveDict},
        "auth": {"AuthBase": AuthBase, "HTTPBasicAuth": HTTPBasicAuth},
        "adapters": {"HTTPAdapter": HTTPAdapter},
        "models": {name: here[name] for name in models},
        "sessions": {"Session": Session, "session": session},
        "api": {name: here[name] for name in calls},
        "status_codes": {"codes": codes},
        "utils": {"quote": quote, "unquote": unquote},
    }
    for name, names in inner.items():
        module = net.offer(f"requests.{name}", f"The part `{name}` of requests.", names)
        for value in names.values():
            if getattr(value, "__module__", "").startswith("_cloche."):
                value.__module__ = module.__name__
        shown[name] = module
    for name in (
        "RequestException",
        "HTTPError",
        "ConnectionError",
        "Timeout",
        "URLRequired",
        "TooManyRedirects",
        "ConnectTimeout",
        "ReadTimeout",
        "JSONDecodeError",
    ):
        shown[name] = ERRORS[name]
    net.offer("requests", "HTTP for people, through the gate.", {**shown, "__version__": _VERSION})


_offer()
