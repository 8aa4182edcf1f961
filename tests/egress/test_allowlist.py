"""Which hosts a run may call."""

from __future__ import annotations

import json

import pytest

from cloche.egress.allowlist import (
    Entry,
    NetPolicy,
    RuleSet,
    canonical_method,
    canonical_pattern,
    decide,
    entry_from_document,
)
from cloche.egress.errors import NetPolicyError
from cloche.egress.url import parse_url


def verdict(url, *entries, method="GET", allow_literals=False):
    """Return the one-word reason of a decision."""
    rules = RuleSet("run", [Entry(host=e) if isinstance(e, str) else e for e in entries])
    parsed = parse_url(url, limit_bytes=8192)
    return decide(parsed, method, [rules], allow_literals=allow_literals).reason


@pytest.mark.parametrize(
    ("entry", "url", "reason"),
    [
        ("api.example.com", "https://api.example.com/", "allowed"),
        ("api.example.com", "https://API.EXAMPLE.COM/", "allowed"),
        ("API.Example.COM.", "https://api.example.com/", "allowed"),
        ("api.example.com", "https://api.example.com./", "allowed"),
        ("api.example.com", "https://api.example.com:443/", "allowed"),
        ("api.example.com", "https://api.example.com:8443/", "port"),
        ("api.example.com", "http://api.example.com/", "scheme"),
        ("api.example.com", "https://example.com/", "unlisted"),
        ("api.example.com", "https://x.api.example.com/", "unlisted"),
        ("api.example.com", "https://api.example.com.evil.com/", "unlisted"),
        ("api.example.com", "https://evilapi.example.com/", "unlisted"),
        ("*.example.com", "https://api.example.com/", "allowed"),
        ("*.example.com", "https://a.b.example.com/", "allowed"),
        ("*.example.com", "https://example.com/", "unlisted"),
        ("*.example.com", "https://evilexample.com/", "unlisted"),
        ("*.example.com", "https://example.com.evil.com/", "unlisted"),
        ("bücher.example", "https://xn--bcher-kva.example/", "allowed"),
        ("xn--bcher-kva.example", "https://BÜCHER.example/", "allowed"),
        ("*.bücher.example", "https://a.xn--bcher-kva.example/", "allowed"),
        ("example.com", "https://93.184.216.34/", "literal"),
        ("example.com", "https://[2606:4700::1]/", "literal"),
    ],
)
def test_hosts(entry, url, reason):
    """A name is that name, a wildcard every name below it and not the apex."""
    assert verdict(url, entry) == reason


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("*", "would allow everything"),
        ("*.", "would allow everything"),
        ("", "would allow everything"),
        ("  ", "would allow everything"),
        ("*.*", "would allow everything"),
        ("*.com", "too broad"),
        ("*.co.uk", "too broad"),
        ("*.github.io", "too broad"),
        ("*.s3.amazonaws.com", "too broad"),
        ("*.local", "too broad"),
        ("*.xn--p1ai", "too broad"),
        ("a.*.com", "is no host"),
        ("*.*.example.com", "is no host"),
        ("https://example.com", "is no host"),
        ("example.com/path", "is no host"),
        ("example.com:8443", "is no host"),
        ("user@example.com", "is no host"),
        ("exa mple.com", "is no host"),
        ("*.127.0.0.1", "an address has no names below it"),
        ("a..b", "is no host"),
        ("::1::2", "is no host and no address"),
        (None, "is no host"),
        (3, "is no host"),
    ],
)
def test_hosts_that_no_entry_may_name(text, problem):
    """Bare and too broad wildcards, URLs, ports and what is no name are refused."""
    with pytest.raises(NetPolicyError, match=problem):
        Entry(host=text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" Example.COM. ", "example.com"),
        ("*.Example.co.UK", "*.example.co.uk"),
        ("127.1", "127.0.0.1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"),
    ],
)
def test_canonical_patterns(text, canonical):
    """An entry is kept in the form that URLs are compared in."""
    assert canonical_pattern(text) == canonical
    assert canonical_pattern(canonical) == canonical


API = "https://api.example.com"


@pytest.mark.parametrize(
    ("entry", "url", "method", "reason"),
    [
        ({"http": True}, "http://api.example.com/", "GET", "allowed"),
        ({"http": True}, "https://api.example.com/", "GET", "allowed"),
        ({"http": True}, "http://api.example.com:443/", "GET", "port"),
        ({"ports": (8443, 9443)}, API + ":9443/", "GET", "allowed"),
        ({"ports": (8443,)}, API + "/", "GET", "port"),
        ({"methods": ("get", "HEAD")}, API + "/", "GET", "allowed"),
        ({"methods": ("GET",)}, API + "/", "POST", "method"),
        ({"paths": ("/v1",)}, API + "/v1", "GET", "allowed"),
        ({"paths": ("/v1",)}, API + "/v1/x?y", "GET", "allowed"),
        ({"paths": ("/v1",)}, API + "/v10", "GET", "path"),
        ({"paths": ("/v1/",)}, API + "/v1", "GET", "path"),
        ({"paths": ("/v1",)}, API + "/v1/../admin", "GET", "path"),
        ({"paths": ("/v1",)}, API + "/v1/%2e%2e/admin", "GET", "path"),
        ({"paths": ("/v1",)}, API + "/v1/..%2fadmin", "GET", "path"),
        ({"paths": ("/v1",)}, API + "/v1/%252e%252e%252fadmin", "GET", "path"),
        ({"paths": ("/v1",)}, API + "/v1/..%5cadmin", "GET", "path"),
        ({"paths": ("/v1",)}, API + "/v1/group%2fproject", "GET", "allowed"),
        ({"paths": ("/",)}, API + "/anything", "GET", "allowed"),
        ({"paths": ("/a b",)}, API + "/a%20b", "GET", "allowed"),
    ],
)
def test_scheme_port_method_and_path(entry, url, method, reason):
    """Each part of an entry must fit; the reason names the one that does not."""
    assert verdict(url, Entry(host="api.example.com", **entry), method=method) == reason


def test_a_denial_catches_every_spelling():
    """What denies a path denies every reading of it, http and every port too."""
    entries = (
        Entry(host="api.example.com", action="deny", paths=("/admin",)),
        Entry(host="api.example.com", http=True, ports=(80, 443, 8443)),
    )
    for url in (
        "https://api.example.com/admin",
        "http://api.example.com/admin/x",
        "https://api.example.com:8443/admin",
        "https://api.example.com/public/..%2fadmin",
        "https://api.example.com/%61dmin",
        "https://api.example.com/admin/..%2f",
    ):
        assert verdict(url, *entries) == "denied", url
    assert verdict("https://api.example.com/public", *entries) == "allowed"


def test_the_first_entry_that_fits_decides():
    """Order within a list decides, and earlier lists come before later ones."""
    url = parse_url("https://api.example.com/", limit_bytes=8192)
    deny, allow = Entry(host="*.example.com", action="deny"), Entry(host="api.example.com")
    assert verdict(url.text, deny, allow) == "denied"
    assert verdict(url.text, allow, deny) == "allowed"
    found = decide(url, "GET", [RuleSet("app:shop", [allow]), RuleSet("global", [deny])])
    assert (found.allowed, found.scope, found.entry) == (True, "app:shop", allow)
    found = decide(url, "GET", [RuleSet("run", [deny]), RuleSet("global", [allow])])
    assert (found.allowed, found.scope) == (False, "run")


def test_deny_by_default():
    """No list, an empty list and a list of other hosts let nothing pass."""
    url = parse_url("https://api.example.com/", limit_bytes=8192)
    for lists in ([], [RuleSet("run", [])], [RuleSet("run", [Entry(host="example.org")])]):
        found = decide(url, "GET", lists)
        assert not found.allowed
        assert found.explanation == "no entry names api.example.com: not in allowlist"


def test_explanations():
    """A decision says which entry of which list it was, and what did not fit."""
    url = parse_url("https://api.example.com/x", limit_bytes=8192)
    rules = RuleSet("app:shop", [Entry(host="api.example.com", methods=("GET",), paths=("/x",))])
    assert (
        decide(url, "GET", [rules]).explanation
        == "entry api.example.com of app:shop allows api.example.com (GET; https; below /x)"
    )
    assert (
        decide(url, "POST", [rules]).explanation
        == "entry api.example.com of app:shop names the host, but not this method"
    )


def test_addresses_need_an_entry_and_a_policy_that_allow_them():
    """A literal passes only where the policy allows literals and an entry is that literal."""
    entry = Entry(host="93.184.216.34")
    assert verdict("https://93.184.216.34/", entry) == "literal"
    assert verdict("https://93.184.216.34/", entry, allow_literals=True) == "allowed"
    assert verdict("https://0x5db8d822/", entry, allow_literals=True) == "allowed"
    assert verdict("https://93.184.216.35/", entry, allow_literals=True) == "unlisted"
    with pytest.raises(NetPolicyError, match="is an address"):
        NetPolicy(allow=["93.184.216.34"])
    with pytest.raises(NetPolicyError, match="is an address"):
        NetPolicy(allow=["::1"])
    assert NetPolicy(allow=["93.184.216.34"], allow_literals=True).entries[0].is_literal


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": ("G ET",)},
        {"methods": ("CONNECT",)},
        {"methods": ("trace",)},
        {"methods": (3,)},
        {"paths": ("v1",)},
        {"paths": (1,)},
        {"ports": (0,)},
        {"ports": (65_536,)},
        {"ports": ("443",)},
        {"ports": (True,)},
        {"rate_limit": -1},
        {"timeout_ms": 1.5},
        {"action": "ask"},
    ],
)
def test_entries_are_checked(wrong):
    """An entry that breaks its form cannot exist."""
    with pytest.raises(NetPolicyError):
        Entry(host="example.com", **wrong)


@pytest.mark.parametrize(
    ("given", "sent"),
    [("get", "GET"), ("Post", "POST"), ("patch", "PATCH"), ("PROPFIND", "PROPFIND"), ("x", "x")],
)
def test_methods(given, sent):
    """The usual methods are sent in upper case, whatever their case; others as they are."""
    assert canonical_method(given) == sent


def test_a_policy_has_a_document():
    """A policy survives its document, entries given as texts too."""
    policy = NetPolicy(
        allow=["api.example.com", Entry(host="*.example.org", methods=["get"], rate_limit=5)],
        deny=["evil.example.org"],
        scopes=("session:x", "global"),
        cookies=True,
        secrets=("KEY",),
    )
    document = json.loads(json.dumps(policy.to_document()))
    assert NetPolicy.from_document(document) == policy
    assert NetPolicy.from_document({"allow": ["a.example.com"]}).entries[0].host == "a.example.com"
    assert [entry.action for entry in policy.entries] == ["deny", "allow", "allow"]
    assert NetPolicy().to_document() == {}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"alow": []},
        {"allow": "example.com"},
        {"allow": [3]},
        {"allow": [{"host": "a.example.com", "port": 3}]},
        {"allow": [{"host": "a.example.com", "http": "yes"}]},
        {"allow": [{}]},
        {"scopes": [""]},
        {"secrets": ["a b"]},
    ],
)
def test_documents_are_checked(document):
    """What is no policy is refused, not read in part."""
    with pytest.raises(NetPolicyError):
        NetPolicy.from_document(document)


def test_one_text_is_no_list():
    """The letters of a host are not taken for hosts."""
    with pytest.raises(NetPolicyError, match="is a list of hosts"):
        NetPolicy(allow="example.com")
    with pytest.raises(NetPolicyError):
        NetPolicy(secrets="KEY")
    with pytest.raises(NetPolicyError, match="unknown names: port"):
        entry_from_document({"host": "example.com", "port": 1})


def test_entries_as_documents():
    """An entry may be given as the document that it would have in a file."""
    policy = NetPolicy(
        allow=[{"host": "a.example.com", "methods": ["GET"], "ports": [8443]}],
        deny=[{"host": "b.example.com"}],
    )
    assert policy.entries == (
        Entry(host="b.example.com", action="deny"),
        Entry(host="a.example.com", methods=("GET",), ports=(8443,)),
    )
    assert NetPolicy.from_document(policy.to_document()) == policy
    with pytest.raises(NetPolicyError, match=r"^entry has unknown names: hosts$"):
        NetPolicy(allow=[{"hosts": "a.example.com"}])
