"""Attack: a response that never ends, is larger than anything, or comes twice."""

from __future__ import annotations

import pytest

from abuse.app_support import place
from cloche.apps.adapters.replies import BrokenResponseError

APPS = {"response_limit_bytes": 1 << 20, "request_timeout_ms": 1500}


@pytest.fixture(scope="module")
def world():
    """A server with short limits."""
    with place(apps=APPS) as found:
        yield found


ENDLESS = {
    "bytes": "for (;;) yield 'x'.repeat(10000);",
    "a trickle": "for (;;) { yield 'x'; await new Promise((r) => setTimeout(r, 50)); }",
    "nothing": "for (;;) yield '';",
    "silence": "yield 'x'; await new Promise(() => {});",
    "work": "yield 'x'; for (;;);",
    "more than fits": "yield new Uint8Array(4 << 20);",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_without_end(world, name):
    """A stream without an end is broken off, so that nobody takes it for whole."""
    code = f"export default () => new Response((async function* () {{ {ENDLESS[name]} }})());"
    world.deploy(code=code)
    try:
        answer = world.get("/apps/shop/")
    except BrokenResponseError:
        pass
    else:
        assert answer.status >= 500
    world.settle()
    assert world.get("/healthz").status == 200


@pytest.mark.parametrize(
    "code",
    [
        "export default () => { for (;;); };",
        "export default () => new Promise(() => {});",
        "export default () => { throw new Error('s3cret at /srv/app'); };",
        "export default () => undefined;",
        "export default () => 5;",
        "export default () => ({ get status() { throw 1; } });",
        "export default () => { const a = []; for (;;) a.push('x'.repeat(1 << 20)); };",
        "export default () => { const f = () => f() + 1; f(); };",
    ],
)
def test_no_answer(world, code):
    """Who asked is told a code, and nothing of the inside of the app or of the host."""
    world.deploy(code=code)
    answer = world.get("/apps/shop/")
    assert 500 <= answer.status < 600
    assert b"s3cret" not in answer.body
    assert b"/srv" not in answer.body
    assert b"cloche/" not in answer.body
    world.settle()
