"""Streams as bodies, and the shortcut for plain URLs; see `cases/streams.json` for the rest."""

from __future__ import annotations

import json
import random

from tests.guests.javascript.driver import run


def test_leaving_a_loop_cancels_the_source():
    """`break` ends the generator behind a stream and gives the lock back."""
    code = """
    const made = () => ReadableStream.from((function* () {
      try { yield 1; yield 2 } finally { console.log("ended") }
    })());
    const s = made();
    for await (const v of s) break;
    console.log(s.locked);
    const kept = made();
    for await (const v of kept.values({ preventCancel: true })) break;
    console.log(JSON.stringify(await kept.getReader().read()));
    """
    assert run(code).stdout == 'ended\nfalse\n{"value":2,"done":false}\n'


def test_a_body_takes_texts_and_whatever_can_be_iterated():
    """A stream of texts, and an async generator without a stream, are bodies."""
    code = """
    console.log(await new Response(ReadableStream.from(["a", "ä"])).text());
    console.log(await new Response((async function* () { yield "b"; yield "c" })()).text());
    await new Response(ReadableStream.from([1])).text().catch((e) => console.log(e.message));
    """
    assert run(code).stdout == "aä\nbc\na body is made of bytes or texts\n"


def test_a_stream_is_asked_for_no_more_than_is_read():
    """Backpressure: the source of a body runs one piece ahead at most."""
    code = """
    let pulled = 0;
    const s = new ReadableStream({ pull(c) { pulled += 1; c.enqueue(pulled); } });
    const reader = s.getReader();
    for (let i = 0; i < 3; i++) await reader.read();
    await new Promise((r) => setTimeout(r, 10));
    console.log(pulled);
    """
    assert run(code).stdout == "4\n"


def test_plain_queries_are_what_the_standard_says():
    """The shortcut gives what the algorithm gives, which a long query makes it take."""
    queries = [
        "",
        "a",
        "a=",
        "=a",
        "a=b",
        "a=b=c",
        "a=b&a=c",
        "&&a=b&",
        "a=b?c/d:e",
        "~-_.!*'()",
        "=",
    ]
    queries += ["a+b=c", "a%20b", "ä=b", "%zz", "a b", "\t=x", "#=1", "a=%", "😀"]
    code = f"""
    const long = "x".repeat(5000);
    for (const query of {json.dumps(queries)}) {{
      const quick = JSON.stringify([...new URLSearchParams(query)]);
      const slow = JSON.stringify([...new URLSearchParams(`${{query}}&${{long}}`)].slice(0, -1));
      if (quick !== slow) console.log(query, quick, slow);
    }}
    console.log(true);
    """
    assert run(code).stdout == "true\n"


def test_plain_urls_are_what_the_standard_says():
    """The shortcut gives what the algorithm gives, which a base makes it take."""
    pieces = ["a", "B", "0", "9", "255", "256", ".", "..", "/", "//", ":", "80", "443", "8080"]
    pieces += ["@", "?", "#", "%2e", "%41", "'", "-", "--", "xn--", "_", "~", " ", "ä", "\\", "&="]
    dice = random.Random(7)  # the same URLs each time
    urls = [
        "http://a/",
        "https://a.example:443/x?y=z",
        "http://127.0.0.1:80/",
        "http://1.2.3/",
        "http://a.1/",
        "http://a:0/",
        "http://a:65536/",
        "http://a?b",
        "http://a/?",
        "http://a//b/./c",
    ]
    for _ in range(3000):
        middle = "".join(dice.choice(pieces) for _ in range(dice.randint(1, 7)))
        urls.append(dice.choice(["http://", "https://", "http://h/", "https://h.x/"]) + middle)
    code = f"""
    const FIELDS = ("href origin protocol username host hostname port pathname search " +
      "hash").split(" ");
    const of = (...args) => {{
      try {{ const u = new URL(...args); return FIELDS.map((f) => u[f]).join(" "); }}
      catch (e) {{ return e.name; }}
    }};
    let count = 0;
    for (const url of {json.dumps(urls)}) {{
      const [quick, slow] = [of(url), of(url, "http://base/")];
      if (quick !== slow) console.log(url, quick, slow);
      if (quick !== "TypeError") count += 1;
    }}
    console.log(count > 1000);
    """
    assert run(code).stdout == "true\n"
