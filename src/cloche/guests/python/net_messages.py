"""What `requests` is made of: errors, data, requests and responses."""

import datetime
import http
import io
import json as _json
import re
import types
import uuid
import zlib
from base64 import b64encode
from collections.abc import Mapping, MutableMapping
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from _cloche import net

_CHUNK_BYTES = 512
_REDIRECTS = {301, 302, 303, 307, 308}


# --- errors ---


class RequestException(OSError):
    """Something of a request went wrong; a `code` says what, where the host refused or failed it."""

    code = None
    retryable = False
    retry_after = None

    def __init__(self, *args, request=None, response=None):
        self.request, self.response = request, response
        if request is None and response is not None:
            self.request = response.request
        super().__init__(*args)


class InvalidJSONError(RequestException):
    """What is to be sent is no JSON."""


class JSONDecodeError(InvalidJSONError, _json.JSONDecodeError):
    """The body is no JSON."""

    def __init__(self, *args, **options):
        _json.JSONDecodeError.__init__(self, *args)
        InvalidJSONError.__init__(self, *self.args, **options)


class HTTPError(RequestException):
    """The response has a status of failure."""


class ConnectionError(RequestException):
    """There is no response."""


class Timeout(RequestException, TimeoutError):
    """There is no response in time."""


class ConnectTimeout(ConnectionError, Timeout):
    """There was no connection in time."""


class ReadTimeout(Timeout):
    """There was no response in time."""


def _error(name, *bases):
    made = type(name, bases, {"__doc__": "As in requests."})
    return name, made


ERRORS = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, RequestException)
}
ERRORS.update(
    [
        _error("ProxyError", ConnectionError),
        _error("SSLError", ConnectionError),
        _error("URLRequired", RequestException),
        _error("TooManyRedirects", RequestException),
        _error("MissingSchema", RequestException, ValueError),
        _error("InvalidSchema", RequestException, ValueError),
        _error("InvalidURL", RequestException, ValueError),
        _error("InvalidHeader", RequestException, ValueError),
        _error("ChunkedEncodingError", RequestException),
        _error("ContentDecodingError", RequestException),
        _error("StreamConsumedError", RequestException, TypeError),
        _error("RetryError", RequestException),
        _error("UnrewindableBodyError", RequestException),
        _error("RequestsWarning", Warning),
        _error("RequestsDependencyWarning", Warning),
    ]
)


def failed(error, request):
    make = ReadTimeout if isinstance(error, net.NetTimeout) else ConnectionError
    made = make(str(error), request=request)
    made.code, made.retryable, made.retry_after = error.code, error.retryable, error.retry_after
    return made


# --- data ---


class CaseInsensitiveDict(MutableMapping):
    """A mapping whose names are found in any case."""

    def __init__(self, data=None, **more):
        self._store = {}
        self.update({} if data is None else data, **more)

    def __setitem__(self, name, value):
        self._store[_lower(name)] = (name, value)

    def __getitem__(self, name):
        return self._store[_lower(name)][1]

    def __delitem__(self, name):
        del self._store[_lower(name)]

    def __iter__(self):
        return (name for name, _ in self._store.values())

    def __len__(self):
        return len(self._store)

    def lower_items(self):
        return ((name, value) for name, (_, value) in self._store.items())

    def copy(self):
        return CaseInsensitiveDict(self._store.values())

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.lower_items()) == dict(CaseInsensitiveDict(other).lower_items())

    def __repr__(self):
        return str(dict(self.items()))


def _lower(name):
    return (name.decode("latin-1") if isinstance(name, bytes) else name).lower()


class Codes(types.SimpleNamespace):
    """Numbers of statuses by name."""

    def __getitem__(self, name):
        return getattr(self, name)


codes = Codes(**{status.name.lower(): status.value for status in http.HTTPStatus})
for _name in list(vars(codes)):
    setattr(codes, _name.upper(), getattr(codes, _name))


class AuthBase:
    """What changes a request so that it is let in."""

    def __call__(self, request):
        raise NotImplementedError("Auth hooks must be callable.")


class HTTPBasicAuth(AuthBase):
    """User and password."""

    def __init__(self, username, password):
        self.username, self.password = username, password

    def __call__(self, request):
        pair = b":".join(
            part.encode("latin-1") if isinstance(part, str) else bytes(part)
            for part in (self.username, self.password)
        )
        request.headers["Authorization"] = "Basic " + b64encode(pair).decode()
        return request


# --- requests ---


class Request:
    """What is asked for, as the program says it."""

    def __init__(
        self,
        method=None,
        url=None,
        headers=None,
        files=None,
        data=None,
        params=None,
        auth=None,
        cookies=None,
        hooks=None,
        json=None,
    ):
        self.method, self.url, self.headers, self.files = method, url, headers or {}, files or []
        self.data, self.params, self.auth = data or [], params or {}, auth
        self.cookies, self.hooks, self.json = cookies, hooks, json

    def __repr__(self):
        return f"<Request [{self.method}]>"


class PreparedRequest:
    """What is sent: method, url, headers, body; `secret` is the name of one, if any."""

    def __init__(self):
        self.method = self.url = self.body = self.secret = None
        self.headers = CaseInsensitiveDict()
        self.hooks = {}

    @property
    def path_url(self):
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def __repr__(self):
        return f"<PreparedRequest [{self.method}]>"


def with_params(url, params):
    url = (url.decode() if isinstance(url, bytes) else str(url)).lstrip()
    if not re.match(r"https?://", url, re.IGNORECASE):
        if "://" in url:
            raise ERRORS["InvalidSchema"](f"No connection adapters were found for {url!r}")
        raise ERRORS["MissingSchema"](
            f"Invalid URL {url!r}: No scheme supplied. Perhaps you meant https://{url}?"
        )
    parts = urlsplit(url)
    if not parts.hostname:
        raise ERRORS["InvalidURL"](f"Invalid URL {url!r}: No host supplied")
    query = "&".join(part for part in (parts.query, _form(params)) if part)
    return urlunsplit(parts._replace(path=parts.path or "/", query=query))


def _form(data):
    """Return names and values as in a form; a name with several values comes several times."""
    if data is None:
        return ""
    if isinstance(data, str | bytes):
        return data.decode() if isinstance(data, bytes) else data
    pairs = data.items() if hasattr(data, "items") else data
    many = [
        (
            name,
            values
            if hasattr(values, "__iter__") and not isinstance(values, str | bytes)
            else [values],
        )
        for name, values in pairs
        if values is not None
    ]
    return urlencode([(name, v) for name, values in many for v in values if v is not None])


def body_of(data, files, json):
    """Return a body and its type."""
    if files:
        return _multipart(data, files)
    if data:
        if isinstance(data, str | bytes | bytearray):
            return data, "application/x-www-form-urlencoded" if isinstance(data, str) else None
        if hasattr(data, "read"):
            return data.read(), None
        if hasattr(data, "__next__"):
            parts = (part.encode() if isinstance(part, str) else part for part in data)
            return b"".join(parts), None
        return _form(data), "application/x-www-form-urlencoded"
    if json is not None:
        try:
            return _json.dumps(json, allow_nan=False).encode(), "application/json"
        except ValueError as error:
            raise InvalidJSONError(str(error)) from None
    return None, None


def _multipart(data, files):
    if isinstance(data, str | bytes):
        raise ValueError("Data must not be a string.")
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in data.items() if hasattr(data, "items") else data or ():
        many = value if isinstance(value, list | tuple) else [value]
        parts += [(name, None, one, None, {}) for one in many if one is not None]
    for name, value in files.items() if hasattr(files, "items") else files:
        given = value if isinstance(value, tuple | list) else (None, value)
        filename, content, kind, more = (*given, None, None)[:4]
        if filename is None:
            guessed = getattr(content, "name", None)
            filename = guessed.rpartition("/")[2] if isinstance(guessed, str) else name
        parts.append((name, filename, content, kind, more or {}))
    body = bytearray()
    for name, filename, content, kind, more in parts:
        content = content.read() if hasattr(content, "read") else content
        content = content if isinstance(content, bytes | bytearray) else str(content).encode()
        shown = f'form-data; name="{_quoted(name)}"'
        if filename is not None:
            shown += f'; filename="{_quoted(filename)}"'
        lines = [f"--{boundary}", f"Content-Disposition: {shown}"]
        lines += [f"Content-Type: {kind}"] if kind else []
        lines += [f"{key}: {text}" for key, text in more.items()]
        body += "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"


def _quoted(text):
    return (
        str(text)
        .replace("\\", "\\\\")
        .replace('"', "%22")
        .replace("\r", "%0D")
        .replace("\n", "%0A")
    )


# --- responses ---


class Response:
    """What came back, whatever its status."""

    def __init__(self):
        self.status_code = self.url = self.reason = self.request = self.raw = None
        self.headers = CaseInsensitiveDict()
        self.encoding = None
        self.cookies = {}
        self.history = []
        self.elapsed = datetime.timedelta(0)
        self.content = b""
        self._consumed = False

    @property
    def ok(self):
        return self.status_code < 400

    def __bool__(self):
        return self.ok

    @property
    def apparent_encoding(self):
        return "utf-8"

    @property
    def text(self):
        try:
            return self.content.decode(self.encoding or "utf-8", "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self, **options):
        try:
            return _json.loads(self.content, **options)
        except _json.JSONDecodeError as error:
            raise JSONDecodeError(error.msg, error.doc, error.pos, response=self) from None
        except UnicodeDecodeError as error:
            raise JSONDecodeError(str(error), "", 0, response=self) from None

    @property
    def is_redirect(self):
        return "location" in self.headers and self.status_code in _REDIRECTS

    @property
    def is_permanent_redirect(self):
        return "location" in self.headers and self.status_code in (301, 308)

    @property
    def next(self):
        if not self.is_redirect:
            return None
        return Request("GET", urljoin(self.url, self.headers["location"])).prepare()

    @property
    def links(self):
        found = {}
        for part in re.split(r",\s*(?=<)", self.headers.get("link", "")):
            url, _, rest = part.strip().partition(">")
            if not url.startswith("<"):
                continue
            link = {"url": url[1:]}
            for name, value in re.findall(r";\s*([\w*-]+)\s*=\s*\"?([^\";]*)\"?", rest):
                link[name] = value
            found[link.get("rel") or link["url"]] = link
        return found

    def raise_for_status(self):
        """Raise HTTPError for a status of 400 and above."""
        kind = "Client" if self.status_code < 500 else "Server"
        if self.status_code >= 400:
            message = f"{self.status_code} {kind} Error: {self.reason} for url: {self.url}"
            raise HTTPError(message, response=self)

    def iter_content(self, chunk_size=1, decode_unicode=False):
        content = self.text if decode_unicode and self.encoding else self.content
        size = chunk_size or max(1, len(content))
        return (content[at : at + size] for at in range(0, len(content), size))

    def iter_lines(self, chunk_size=_CHUNK_BYTES, decode_unicode=False, delimiter=None):
        content = self.text if decode_unicode and self.encoding else self.content
        return iter(content.split(delimiter) if delimiter else content.splitlines())

    def __iter__(self):
        return self.iter_content(128)

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __repr__(self):
        return f"<Response [{self.status_code}]>"


def response_of(value, request, elapsed_s):
    made = Response()
    made.status_code, made.reason, made.url = value.status, value.reason, value.url
    made.headers = CaseInsensitiveDict((name, value.headers[name]) for name in value.headers)
    made.content = _decoded(value.content, made.headers.get("content-encoding", ""), request)
    made.raw = io.BytesIO(made.content)
    made.request = request
    made.elapsed = datetime.timedelta(seconds=elapsed_s)
    for line in value.headers.get_all("set-cookie"):
        name, _, cookie = line.partition(";")[0].partition("=")
        made.cookies[name.strip()] = cookie.strip()
    kind = made.headers.get("content-type", "")
    charset = re.search(r"charset\s*=\s*[\"']?([^\s;\"']+)", kind, re.IGNORECASE)
    if charset:
        made.encoding = charset[1]
    elif kind.lower().startswith("text/"):
        made.encoding = "ISO-8859-1"
    elif "application/json" in kind.lower():
        made.encoding = "utf-8"
    return made


def _decoded(content, encoding, request):
    # The host asks for plain bodies; some servers do not listen.
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate") or not content:
        return content
    try:
        return zlib.decompress(content, zlib.MAX_WBITS | 32)
    except zlib.error as error:
        raise ERRORS["ContentDecodingError"](str(error), request=request) from None
