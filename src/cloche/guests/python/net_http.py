"""`http.client` and `urllib.request` through the gate.

A connection has no socket but an object that takes a whole request, makes the call and gives back a
whole response; what the standard library does around that stays its own: redirects, errors, cookies.
"""

import http.client
import io
import socket
import urllib.request

from _cloche import net

_SKIPPED = {"content-length", "transfer-encoding", "connection"}


class _Wire:
    """Stands where a connection has its socket."""

    def __init__(self, scheme, host, port, timeout):
        name = f"[{host}]" if ":" in host else host
        self._origin = f"{scheme}://{name}:{port}"
        self._timeout = timeout
        self._sent = bytearray()
        self._head = None  # (method, target, headers, size of the head)
        self._response = None

    def sendall(self, data, flags=0):
        self._sent += data
        body = self._body()
        if body is not None:
            self._call(body)

    def send(self, data, flags=0):
        self.sendall(data)
        return len(data)

    def makefile(self, mode="r", buffering=None, **options):
        if self._response is None:
            if not self._read_head():
                return io.BytesIO()
            self._call(bytes(self._sent[self._head[3] :]))
        response, self._response = self._response, None
        return io.BytesIO(response)

    def settimeout(self, timeout):
        self._timeout = timeout

    def gettimeout(self):
        return self._timeout

    def setsockopt(self, *args):
        pass

    def shutdown(self, how):
        pass

    def close(self):
        pass

    def _read_head(self):
        if self._head is None:
            end = self._sent.find(b"\r\n\r\n")
            if end < 0:
                return False
            first, *lines = self._sent[:end].decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = [line.split(":", 1) for line in lines]
            pairs = [(name, value.strip()) for name, value in headers]
            self._head = method, target, pairs, end + 4
        return True

    def _body(self):
        """Return the body of the request, None while something is missing."""
        if not self._read_head():
            return None
        _, _, pairs, size = self._head
        fields = {name.lower(): value for name, value in pairs}
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return _joined(bytes(self._sent[size:])) if self._sent.endswith(b"0\r\n\r\n") else None
        length = int(fields.get("content-length", 0))
        return bytes(self._sent[size:]) if len(self._sent) - size >= length else None

    def _call(self, body):
        method, target, pairs, _ = self._head
        self._head = None
        self._sent.clear()
        response = net.fetch(
            target if target.startswith(("http://", "https://")) else self._origin + target,
            method=method,
            headers=[pair for pair in pairs if pair[0].lower() not in _SKIPPED],
            body=body or None,
            timeout=_seconds(self._timeout),
            redirect="manual",
        )
        self._response = _encoded(response, method)


def _seconds(timeout):
    if timeout is socket._GLOBAL_DEFAULT_TIMEOUT:
        timeout = socket.getdefaulttimeout()
    return timeout


def _joined(data):
    """Return the body of chunks, None while something is missing (RFC 9112 7.1)."""
    body = bytearray()
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found:
            return None
        size = int(line.split(b";")[0], 16)
        if size == 0:
            return bytes(body)
        if len(data) < size + 2:
            return None
        body += data[:size]
        data = data[size + 2 :]


def _encoded(response, method):
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    for name, value in response.pairs:
        if name not in _SKIPPED or (method == "HEAD" and name == "content-length"):
            lines.append(f"{name.title()}: {value}")
    if method != "HEAD":
        lines.append(f"Content-Length: {len(response.content)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return head + response.content


_scheme = {False: "http", True: "https"}


def _connect(self):
    if self._tunnel_host:
        raise OSError("there are no proxies in the sandbox")
    secure = isinstance(self, HTTPSConnection)
    self.sock = _Wire(_scheme[secure], self.host, self.port, self.timeout)


class HTTPSConnection(http.client.HTTPConnection):
    """A connection over TLS, which the host speaks; it checks certificates, always."""

    default_port = 443

    def __init__(
        self,
        host,
        port=None,
        *,
        timeout=socket._GLOBAL_DEFAULT_TIMEOUT,
        context=None,
        source_address=None,
        blocksize=8192,
        **options,
    ):
        super().__init__(host, port, timeout, source_address, blocksize, **options)


class HTTPSHandler(urllib.request.AbstractHTTPHandler):
    """Opens https URLs."""

    def __init__(self, debuglevel=None, context=None, check_hostname=None):
        super().__init__(debuglevel or 0)

    def https_open(self, request):
        return self.do_open(http.client.HTTPSConnection, request)

    https_request = urllib.request.AbstractHTTPHandler.do_request_


def _install():
    HTTPSConnection.__module__ = "http.client"
    HTTPSHandler.__module__ = "urllib.request"
    http.client.HTTPConnection.connect = _connect
    http.client.HTTPSConnection = HTTPSConnection
    urllib.request.HTTPSHandler = HTTPSHandler
    urllib.request.getproxies = dict
    for module, name in ((http.client, "HTTPSConnection"), (urllib.request, "HTTPSHandler")):
        if name not in module.__all__:
            module.__all__.append(name)


_install()
