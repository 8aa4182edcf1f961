"""Measures the HTTP/1.1 parser and serializer: microseconds of processor time, least of many runs.

python bench/http1.py            a table
python bench/http1.py --json     for machines

Where `httptools` or `h11` are installed, they parse the same request in the same run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from typing import TYPE_CHECKING

from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.one_shot import parse_req_v1
from cloche.web.http1.parser import RequestParser
from cloche.web.http1.serializer import write_response

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = (
    b"Host: www.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    b"Accept-Language: en-US,en;q=0.5",
    b"Accept-Encoding: gzip, deflate, br",
    b"Connection: keep-alive",
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; lang=en",
    b"X-Request-Id: 0123456789ab",
)
GET = b"\r\n".join((b"GET /api/v1/items/12345?page=2&sort=name HTTP/1.1", *FIELDS, b"", b""))
COUNT = 2000  # requests of a run
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = [
    (b"content-type", b"application/json"),
    (b"date", b"Sat, 01 Jan 2028 00:00:00 GMT"),
    (b"server", b"cloche"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-request-id", b"0123456789ab"),
]
WIDE = Http1Caps(
    pipelining_depth_max=1 << 60, body_limit_bytes=1 << 40, chunk_overhead_limit_bytes=1 << 40
)


def least_us(function: Callable[[], object], count: int, runs: int = 9) -> float:
    """Return the least time of a call in microseconds of processor time."""
    best = float("inf")
    for _ in range(runs):
        started = time.process_time()
        for _ in range(count):
            function()
        best = min(best, time.process_time() - started)
    return best / count * 1e6


def another(number: int, *kept: bytes) -> bytes:
    """Return the GET with values of its own in all fields but those kept, of the same sizes."""
    fields = []
    for field in FIELDS:
        name, _, value = field.partition(b": ")
        if name not in kept and name != b"Connection":  # which has one usual value
            value = b"%08x" % (number * 2_654_435_761 % (1 << 32)) + value[8:]
        fields.append(name + b": " + value)
    found = b"\r\n".join((GET.partition(b"\r\n")[0], *fields, b"", b""))
    assert len(found) == len(GET)
    return found


def parsing_us(requests: list[bytes]) -> float:
    """Return the time of a request, each parsed behind the one before."""
    parser = RequestParser(WIDE)
    feed = parser.feed

    def parse() -> None:
        for request in requests:
            feed(request)

    return least_us(parse, 1) / len(requests)


def measure() -> dict[str, float]:
    parser = RequestParser(WIDE)
    names = [field.partition(b":")[0] for field in FIELDS]
    small = CHUNKED + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    large = CHUNKED + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 64 + b"0\r\n\r\n"
    found = {
        f"parse a {len(GET)}-byte GET, {len(FIELDS)} fields, all others": parsing_us(
            [another(number) for number in range(COUNT)]
        ),
        "all others but Host": parsing_us([another(number, b"Host") for number in range(COUNT)]),
        "one other, X-Request-Id": parsing_us(
            [another(number, *names[:-1]) for number in range(COUNT)]
        ),
        "with the fields of the request before": parsing_us([GET] * COUNT),
        "the same to an EWHR document": least_us(lambda: parse_req_v1(GET), 1000),
        "64 chunks of 1 KiB": least_us(lambda: parser.feed(large), 200),
        "1000 chunks of 1 byte": least_us(lambda: parser.feed(small), 20),
        "write a response, 8 fields": least_us(lambda: write_response(200, RESPONSE, b"{}"), 5000),
    }
    return found | peers()


def peers() -> dict[str, float]:
    found = {}
    if importlib.util.find_spec("httptools"):
        import httptools

        other = httptools.HttpRequestParser(object())
        found["httptools, the same GET"] = least_us(lambda: other.feed_data(GET), 5000)
    if importlib.util.find_spec("h11"):
        import h11

        def parse() -> None:
            connection = h11.Connection(h11.SERVER)
            connection.receive_data(GET)
            connection.next_event()

        found["h11, the same GET, new connection"] = least_us(parse, 500)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--json", action="store_true")
    found = measure()
    if options.parse_args().json:
        print(json.dumps({name: round(value, 2) for name, value in found.items()}, indent=2))
        return
    for name, value in found.items():
        print(f"{name:40} {value:9.2f} us")


if __name__ == "__main__":
    main()
