"""Attack: a manifest or an archive that says what is not so, or asks for what nobody may have."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest

from abuse.app_support import packed, place


@pytest.fixture(scope="module")
def world():
    """A server that the tests of this module share."""
    with place() as found:
        yield found


LIES = [
    {"limits": {"timeout_ms": 10**12}},
    {"limits": {"memory_limit_bytes": 1 << 40}},
    {"limits": {"timeout_ms": -1}},
    {"limits": {"timeout_ms": "forever"}},
    {"limits": {"output_limit_bytes": 1e30}},
    {"policy": {"tool": ["*"]}},
    {"policy": {"net": {"allow": ["*"], "tenant": "acme"}}},
    {"policy": {"net": {"allow": ["http://169.254.169.254"]}}},
    {"main": "../../etc/passwd"},
    {"main": "/etc/passwd"},
    {"main": "missing.js"},
    {"language": "shell"},
    {"image": "../../evil"},
    {"image": "python"},
    {"static": "../.."},
    {"static": "/etc"},
    {"storage": ["kv", "kv", "everything"]},
    {"schedules": [{"cron": "* * * * * *"}]},
    {"schedules": [{"cron": "* * * * *", "name": str(n)} for n in range(1000)]},
    {"record": {"sample": 2}},
    {"record": {"sample": "NaN"}},
    {"env": {"A B": "x"}},
    {"env": {"A": "x\0y"}},
    {"env": {f"V{n}": "x" for n in range(1000)}},
    {"instances": "shared"},
    {"unknown": True},
    {"__proto__": {"admin": True}},
]


@pytest.mark.parametrize("number", range(len(LIES)))
def test_a_manifest_that_lies(world, number):
    """It is refused, or what it says is cut to what the server allows; nothing is deployed."""
    answer = world.ask(
        "POST",
        "/v1/apps/liar/versions",
        key=world.key,
        fields=[("content-type", b"application/zip")],
        body=packed("export default () => new Response('x')", **{"name": "liar", **LIES[number]}),
    )
    if answer.status == 201:
        app = world.apps.registry.state()[1].apps["default/liar"]
        built = next(
            ready.built for key, ready in world.apps.versions._ready.items() if key[1] == app.live
        )
        host = world.limits.guests
        assert built.limits.guests.memory_limit_bytes <= host.memory_limit_bytes
        assert built.limits.guests.timeout_ms <= world.limits.apps.request_timeout_ms
        assert built.limits.guests.output_limit_bytes <= host.output_limit_bytes
        assert built.policy.net is None or built.policy.net.get("tenant") is None
        world.ask("DELETE", "/v1/apps/liar", key=world.key)
    else:
        assert answer.status == 422, answer.body
        assert world.get("/v1/apps/liar", key=world.key).status == 404


def zipped(*entries):
    """Return a ZIP of (name, content) with these very names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as whole:
        for name, content in entries:
            whole.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def bomb():
    """Return a small ZIP of large files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as whole:
        for number in range(10):
            whole.writestr(f"zeros{number}", bytes(10 << 20))
    return out.getvalue()


def linked(kind, target):
    """Return a tar with a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as whole:
        for name, content in (("main.js", b"export default () => 1"),):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            whole.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = kind, target
        whole.addfile(link)
    return out.getvalue()


MAIN = ("main.js", b"export default () => new Response('x')")
ARCHIVES = {
    "nothing": b"",
    "no archive": b"PK\x03\x04 nothing behind",
    "out of its folder": zipped(MAIN, ("../evil.js", b"x")),
    "an absolute path": zipped(MAIN, ("/etc/cron.d/evil", b"x")),
    "backslashes": zipped(MAIN, ("..\\evil.js", b"x")),
    "one name twice": zipped(MAIN, ("twin.js", b"x")).replace(b"twin.js", b"main.js"),
    "a NUL": zipped(MAIN).replace(b"main.js", b"ma\0n.js"),
    "a bomb": bomb(),
    "too many": zipped(MAIN, *((f"f{n}", b"") for n in range(2001))),
    "a link": linked(tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": linked(tarfile.LNKTYPE, "main.js"),
    "a device": linked(tarfile.CHRTYPE, ""),
    "two manifests": zipped(
        MAIN,
        ("cloche.app.json", json.dumps({"name": "shop"}).encode()),
        ("cloche.app.toml", b'name = "other"'),
    ),
    "a deep manifest": zipped(MAIN, ("cloche.app.json", b"[" * 60_000)),
    "a large manifest": zipped(MAIN, ("cloche.app.json", b" " * 200_000 + b"{}")),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_crooked_archive(world, name):
    """It is refused whole: no file of it is kept, and no app made."""
    answer = world.ask(
        "POST",
        "/v1/apps/crooked/versions",
        key=world.key,
        fields=[("content-type", b"application/zip")],
        body=ARCHIVES[name],
    )
    assert 400 <= answer.status < 500, answer.body
    assert world.get("/v1/apps/crooked", key=world.key).status == 404
    assert b"/tmp" not in answer.body
