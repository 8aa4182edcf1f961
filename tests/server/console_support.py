"""A person in front of the console: keeps cookies, fills in forms, follows redirects."""

from __future__ import annotations

import html
import re
from urllib.parse import urlencode

from cloche.web.adapters.fixture import FixtureServices, read_body, run_now
from cloche.web.request import Request

from .support import Answer, Asker

TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]*)"')
PAGE_LIMIT_BYTES = 100_000
SCRIPT = "<script>alert(1)</script>"
FORM = (b"content-type", b"application/x-www-form-urlencoded")


class Person:
    """Somebody with a browser.

    Args:
        asker: the server.
        key: signs in with it at once, if there is one.
    """

    def __init__(self, asker: Asker, key: str | None = None):
        self.asker = asker
        self.cookies = {}
        self.set_cookies = []
        self.services = FixtureServices()
        if key is not None:
            answer = self.submit("/console/sign-in", key=key)
            assert answer.status == 303, answer.body

    def send(self, method, target, *, content=b"", fields=()):
        """Return what the server answers; its cookies are kept."""
        sent = [(b"host", b"console.example"), *fields]
        if self.cookies:
            text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent.append((b"cookie", text.encode()))
        request = Request(
            method=method,
            target=target,
            fields=sent,
            body=content,
            services=self.services,
            scheme="https",
        )
        response = run_now(self.asker.server.app.handle(request))
        for name, value in response.fields:
            if name == b"set-cookie":
                self._keep(value.decode())
        return Answer(
            status=response.status,
            fields={name.decode(): value.decode() for name, value in response.fields},
            body=run_now(read_body(response)),
        )

    def _keep(self, text):
        self.set_cookies.append(text)
        name, _, value = text.partition(";")[0].partition("=")
        if "Max-Age=0" in text:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    def see(self, target, status=200):
        """Return the text of a page, which is whole, small, and has nothing inline."""
        answer = self.send("GET", target)
        assert answer.status == status, (answer.status, answer.fields, answer.body[:2000])
        check_page(answer)
        return answer.body.decode()

    def token(self):
        """Return the token that forms have now."""
        answer = self.send("GET", "/console/sign-in")
        if answer.status == 303:
            answer = self.send("GET", "/console")
        return TOKEN.search(answer.body.decode())[1]

    def submit(self, target, *, token=None, fields=(), **values):
        """Return what a form answers."""
        found = self.token() if token is None else token
        pairs = [("csrf_token", found), *values.items()]
        content = urlencode(pairs, doseq=True).encode()
        return self.send("POST", target, content=content, fields=[FORM, *fields])

    def do(self, target, **values):
        """Submit a form that works, and return where it leads."""
        answer = self.submit(target, **values)
        assert answer.status == 303, (answer.status, text_of(answer), self.services.records)
        return answer.fields["location"]


def text_of(answer):
    """Return the text of a page without its markup, for messages of tests."""
    return html.unescape(re.sub(r"<[^>]+>|\s+", " ", answer.body.decode()))


def check_page(answer):
    """Hold a page against what holds for every page."""
    assert len(answer.body) < PAGE_LIMIT_BYTES
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    policy = answer.fields["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
    assert policy == (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    page = answer.body.decode()
    tags = re.findall(r"<[a-zA-Z][^>]*>", page)
    assert not [tag for tag in tags if re.search(r"\s(on\w+|style)=", tag)]
    assert all(f'nonce="{nonce}"' in tag for tag in tags if tag.startswith("<script"))
    assert not [tag for tag in tags if re.search(r'(?:src|href)="(?!/|#)', tag)]
    assert page.count("<main") == page.count("<h1") == 1
    assert '<html lang="en">' in page
    _check_labels(page)


def _check_labels(page):
    """Every field has a label, and every id is there once."""
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids)), sorted(ids)
    labels = set(re.findall(r'<label[^>]*\sfor="([^"]*)"', page))
    for tag in re.findall(r"<(?:input|select|textarea)\b[^>]*>", page):
        if 'type="hidden"' in tag or "aria-label=" in tag:
            continue
        found = re.search(r'\sid="([^"]*)"', tag)
        is_inside = re.search(rf"<label[^>]*>\s*{re.escape(tag)}", page)
        assert is_inside or (found and found[1] in labels), tag
