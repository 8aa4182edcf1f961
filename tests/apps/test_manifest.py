"""Manifests: what they may say, and how a mistake is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.bundle import bundle_of
from cloche.apps.errors import ManifestError
from cloche.apps.manifest import Recording, Schedule, find_manifest, parse_manifest
from cloche.gate.policy import Allow, Deny, decide
from cloche.limits import Limits

LIMITS = Limits()
FULL = {
    "name": "shop",
    "main": "src/main.ts",
    "language": "typescript",
    "instances": "warm",
    "image": "javascript",
    "static": {"folder": "public/", "fallback": "index.html"},
    "hosts": ["shop.example", "*.Shop.example"],
    "paths": ["/shop/", "/"],
    "limits": {"timeout_ms": 1000, "memory_limit_bytes": 64 << 20},
    "policy": {"net": {"allow": ["api.example.com"]}},
    "env": {"MODE": "live", "KEY": None},
    "storage": ["sql", "kv"],
    "schedules": [{"cron": "*/5 * * * *", "name": "tick"}, {"cron": "@daily"}],
    "record": {"sample": 0.5, "errors": False},
}
FILES = {"src/main.ts": b"", "public/index.html": b""}


def parse(document, **files):
    """Return the manifest of a document among a few files."""
    return parse_manifest(document, LIMITS, files={"main.js": b"", **FILES, **files})


def test_everything_that_can_be_said():
    """Each name has its place."""
    manifest = parse(FULL)
    assert manifest.name == "shop"
    assert (manifest.main, manifest.language) == ("src/main.ts", "typescript")
    assert (manifest.instances, manifest.image) == ("warm", "javascript")
    assert (manifest.static_folder, manifest.static_fallback) == ("public", "index.html")
    assert manifest.hosts == ("shop.example", "*.shop.example")
    assert manifest.paths == ("/shop", "/")
    assert manifest.env == (("KEY", None), ("MODE", "live"))
    assert manifest.storage == ("kv", "sql")
    assert manifest.schedules == (
        Schedule(cron="*/5 * * * *", name="tick"),
        Schedule(cron="@daily", name="@daily"),
    )
    assert manifest.record == Recording(sample=0.5, errors=False)
    assert manifest == parse(json.loads(json.dumps(FULL)))


def test_what_is_not_said():
    """A name is enough where a module has a usual name."""
    manifest = parse({"name": "a"})
    assert (manifest.main, manifest.language, manifest.instances) == (
        "main.js",
        "javascript",
        "fresh",
    )
    assert (manifest.storage, manifest.net, manifest.record) == ((), None, Recording())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, "$ has an unknown name 'nmae'; did you mean name?"),
        ({"zzz": 1}, "$ has an unknown name 'zzz'; known are name, main, "),
        ({"name": ""}, "name is ''; it has lowercase letters, digits and hyphens, at most 63"),
        ({"name": "A"}, "name is 'A'; it has"),
        ({"name": "a-"}, "name is 'a-'; it has"),
        ({"name": "a" * 64}, "it has lowercase letters"),
        ({"name": 1}, "name is a number; it must be a text"),
        ({"main": "mian.js"}, "main is 'mian.js', and there is no such file; did you mean main"),
        ({"main": "../x.js"}, "main is '../x.js', and there is no such file"),
        ({"main": "public/index.html"}, "its suffix says no language"),
        ({"main": ""}, "main names no module, and there is no static folder"),
        ({"language": "ruby"}, "language is 'ruby'; it must be one of javascript, types"),
        ({"instances": "hot"}, "instances is 'hot'; it must be one of fresh, warm"),
        ({"static": 5}, "static is a number; it must be a table of names"),
        ({"static": "none"}, "static.folder is 'none', and no file is in there"),
        ({"static": "/etc"}, "static.folder is '/etc': "),
        ({"static": {"folder": "public", "fallback": "x"}}, "which is not in 'public'"),
        ({"static": {"fallback": "x"}}, "static has a fallback and no folder"),
        ({"static": {"dir": "x"}}, "static has an unknown name 'dir'"),
        ({"hosts": "a.example"}, "hosts is a text; it must be a list"),
        ({"hosts": ["a_b"]}, "hosts has 'a_b', which is no host name"),
        ({"hosts": ["a.example:80"]}, "which is no host name"),
        ({"hosts": ["*"]}, "which is no host name"),
        ({"hosts": ["a", "A"]}, "hosts has an entry twice"),
        ({"hosts": [f"h{n}" for n in range(33)]}, "apps.host_count_max allows at most 32"),
        ({"paths": ["a"]}, "paths has 'a'; a prefix begins with /"),
        ({"paths": ["/a/../b"]}, "paths has '/a/../b'"),
        ({"paths": ["/a?b"]}, "paths has '/a?b'"),
        ({"paths": ["/a//b"]}, "paths has '/a//b'"),
        ({"limits": {"timeout": 1}}, "limits has an unknown name 'timeout'; did you mean"),
        ({"limits": {"timeout_ms": -1}}, "limits cannot be: "),
        ({"limits": {"timeout_ms": "1"}}, "limits cannot be: "),
        ({"policy": {"tool": {}}}, "policy has an unknown name 'tool'"),
        ({"policy": {"net": {"alow": []}}}, "policy.net cannot be: "),
        ({"env": {"1A": ""}}, "env has '1A'; names have letters"),
        ({"env": {"A": 1}}, "env.A must be a text without NUL, or null"),
        ({"env": {"A": "\0"}}, "env.A must be a text without NUL, or null"),
        ({"storage": ["kv", "files"]}, "storage is 'files'; it must be one of kv, docs"),
        ({"storage": ["kv", "kv"]}, "storage has an entry twice"),
        ({"schedules": [{"cron": "61 * * * *"}]}, "schedules[0].cron cannot be: "),
        ({"schedules": [{"cron": "@daily"}] * 2}, "schedules has an entry twice"),
        ({"record": {"sample": 2}}, "record.sample is 2; it must be 0 to 1"),
        ({"record": {"sample": True}}, "record.sample is True"),
        ({"record": {"errors": 1}}, "record.errors must be true or false"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes(change, message):
    """The error says where, what was found and what is allowed."""
    with pytest.raises(ManifestError) as caught:
        parse({"name": "a", "main": "main.js", **change})
    assert caught.value.message.startswith("the manifest: ")
    assert message in caught.value.message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*FULL, "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from(sorted(FULL)),
)
def test_any_document_is_a_manifest_or_an_error(document, name):
    """Nothing else comes out, whatever stands under a name."""
    for made in (document, {**FULL, name: document}):
        try:
            manifest = parse(made)
        except ManifestError:
            continue
        assert manifest.policy() is not None
        assert manifest.limits_of(LIMITS).guests.timeout_ms <= LIMITS.apps.request_timeout_ms


def test_files_have_one_manifest():
    """JSON or TOML; both is one too many, neither is one of defaults."""
    main = {"main.py": b""}
    as_json = {"cloche.app.json": b'{"name": "j"}'}
    as_toml = {"cloche.app.toml": b'name = "t"\n[env]\nA = "1"\n'}

    def found(files, **options):
        return find_manifest(bundle_of({**main, **files}, LIMITS), LIMITS, **options)

    assert found(as_json).name == "j"
    assert found(as_json, name="other").name == "j"
    assert found(as_toml).env == (("A", "1"),)
    assert (found({}, name="d").name, found({}, name="d").language) == ("d", "python")
    with pytest.raises(ManifestError, match="is there twice"):
        found({**as_json, **as_toml})
    for broken in (b"{", b"\xff", b"[" * 100_000, b"1"):
        with pytest.raises(ManifestError):
            found({"cloche.app.json": broken}, name="d")
    with pytest.raises(ManifestError, match="manifest_limit_bytes"):
        found({"cloche.app.json": b" " * 70_000})


def test_a_manifest_only_lowers():
    """What it asks for beyond the host it does not get."""
    wanted = {"name": "a", "limits": {"timeout_ms": 10**7, "memory_limit_bytes": 4 << 30}}
    found = parse(wanted).limits_of(LIMITS)
    assert found.guests.timeout_ms == LIMITS.apps.request_timeout_ms
    assert found.guests.memory_limit_bytes == LIMITS.guests.memory_limit_bytes
    lower = {"name": "a", "limits": {"timeout_ms": 5, "memory_limit_bytes": 32 << 20}}
    found = parse(lower).limits_of(LIMITS)
    assert (found.guests.timeout_ms, found.guests.memory_limit_bytes) == (5, 32 << 20)


def test_what_a_manifest_does_not_say():
    """Time and memory of a request are those of `runtime`, the latter on top of what is ready."""
    host = LIMITS.replace({"runtime": {"exec_timeout": 700, "max_memory": 3 << 20}})
    found = parse({"name": "a"}).limits_of(host, ready_bytes=40 << 20).guests
    assert (found.timeout_ms, found.memory_limit_bytes) == (700, 43 << 20)
    found = parse({"name": "a"}).limits_of(host, ready_bytes=2 << 20).guests
    assert found.memory_limit_bytes == 16 << 20  # the least that any guest has
    most = host.guests.memory_limit_bytes
    assert parse({"name": "a"}).limits_of(host, ready_bytes=most).guests.memory_limit_bytes == most
    longer = parse({"name": "a", "limits": {"timeout_ms": 900}}).limits_of(host).guests
    assert longer.timeout_ms == 900


def test_its_policy():
    """The app's own effects, the storage that it names, and HTTP by its rules; nothing else."""
    policy = parse({"name": "a", "storage": ["kv"]}).policy()
    allowed = [kind for kind in ("app", "kv", "docs", "sql", "tool", "http.fetch", "jobs")
               if isinstance(decide(policy, kind, "x"), Allow)]  # fmt: skip
    assert allowed == ["app", "kv"]
    calling = parse({"name": "a", "policy": {"net": {"allow": ["b.example"]}}}).policy()
    assert isinstance(decide(calling, "http.fetch", "GET https://b.example"), Allow)
    assert isinstance(decide(policy, "http.fetch", "GET https://b.example"), Deny)
