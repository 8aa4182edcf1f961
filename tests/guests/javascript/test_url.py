"""URLs, header fields and JSON in the real engine: its shortcuts change nothing."""

from __future__ import annotations

from guests.javascript.driver import run

# A fragment is never plain, so a URL that had one is the reference implementation's.
SEEDED = """
let seed = 12345;
const below = (count) => {
  seed = (seed * 1103515245 + 12345) & 0x7fffffff;
  return (seed >> 8) % count;
};
const FIELDS = [
  "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname",
  "search", "hash",
];
const shown = (url) => (
  FIELDS.map((name) => url[name]).join(" ") + JSON.stringify([...url.searchParams])
);
const made = (text) => { try { return new URL(text); } catch (error) { return error.code; } };
const reference = (text) => {
  const url = made(`${text}#x`);
  if (typeof url !== "string") url.hash = "";
  return url;
};
"""

PLAIN = """
const PIECES = [
  "http://", "https://", "HTTP://", "ftp://", "http:/", "a.example", "A.example", "1.2.3.4",
  "256.1.1.1", "1.2.3", "01.2.3.4", "xn--a", "a--b.c", "ab--c", "a-.b", "-a", "a_b", "localhost",
  "a..b", "a.1", "1.a", ":80", ":443", ":8080", ":0", ":070", ":65536", ":65535", ":", "/", "/a",
  "/a/b", "/.", "/..", "/.a", "/%2e", "/%2E/x", "/a%41", "/;x=1", "/'", '/"', "/|", "/é", "\\\\x",
  "?", "?a=1", "?a=1&b=2", "?'", "?a b", "?%", "?a?b", "??", "//", "@", "u:p@", "[::1]", "\\t", "x",
  "~", "$", "^", "`", "{", "}",
];
for (let round = 0; round < 1500; round += 1) {
  let text = PIECES[below(below(10) < 8 ? 2 : PIECES.length)];
  if (below(10) < 8) text += PIECES[5 + below(16)];
  for (let count = below(4); count > 0; count -= 1) text += PIECES[below(PIECES.length)];
  const [one, other] = [made(text), reference(text)];
  if (typeof one === "string" ? one !== other : shown(one) !== shown(other)) console.log(text);
}
console.log("compared");
"""

CHANGED = """
const QUERIES = [
  "", "?", "?a=1", "?a=1&b=2", "?a=%20x", "?a=+x&&b", "?%zz", "?%E4%BD%A0=x", "?a=%ff", "?=1", "?a",
  "?a=b=c", "?%41=%42", "?a=%", "?x=%EF%BB%BFy", "?%F0%9F%98%80", "?%ED%A0%80=1", "?a=%C0%80",
];
const CHANGES = [
  (url) => url.searchParams.append("k", "v w"), (url) => url.searchParams.delete("a"),
  (url) => url.searchParams.set("a", "é"), (url) => { url.search = "?q=1"; },
  (url) => { url.search = ""; }, (url) => { url.href = "http://b.example/?z=1"; },
  (url) => { url.pathname = "/n m"; }, (url) => { url.hash = "f"; }, (url) => { url.hash = ""; },
  (url) => url.searchParams.sort(), (url) => { url.port = "81"; },
];
for (let round = 0; round < 300; round += 1) {
  const text = `http://a.example/p${QUERIES[below(QUERIES.length)]}`;
  const [one, other] = [new URL(text), reference(text)];
  const held = one.searchParams;
  for (let count = below(4); count >= 0; count -= 1) {
    const change = CHANGES[below(CHANGES.length)];
    change(one);
    change(other);
    if (shown(one) !== shown(other) || held !== one.searchParams) console.log(text, String(change));
  }
}
console.log("compared");
"""


def test_plain_urls_are_those_of_the_standard() -> None:
    """Whatever a URL is made of, its parts are those of the standard's own algorithm."""
    assert run(SEEDED + PLAIN).stdout == "compared\n"


def test_a_plain_url_can_be_changed() -> None:
    """A change has the standard's effect on URL and parameters, which stay the same object."""
    assert run(SEEDED + CHANGED).stdout == "compared\n"


def test_methods_ask_for_a_url() -> None:
    """What is no URL has none of its accessors."""
    code = """
    for (const name of ["toString", "toJSON"]) {
      try { URL.prototype[name].call({}); } catch (error) { console.log(name, error.name); }
    }
    """
    assert run(code).stdout == "toString TypeError\ntoJSON TypeError\n"


def test_fields_of_headers() -> None:
    """Names lose their case, values their blanks; what no field can hold is refused."""
    code = r"""
    const headers = new Headers({ "X-One": " \t a\r\n" });
    headers.append("b", "1");
    headers.append("x-ONE", "é");
    headers.append("b", "");
    console.log(JSON.stringify([...headers]), headers.get("B"), headers.has("c"));
    headers.set("x-one", "z");
    headers.delete("B");
    console.log(JSON.stringify([...headers]));
    const none = [["", "a"], ["a b", "a"], ["é", "a"], ["a", "b\nc"], ["a", "€"], ["a", "\0"]];
    for (const [name, value] of none) {
      try { headers.set(name, value); } catch (error) { console.log(error.name); }
    }
    """
    assert run(code).stdout == (
        '[["b","1, "],["x-one","a, é"]] 1,  false\n[["x-one","z"]]\n' + "TypeError\n" * 6
    )


def test_texts_as_json() -> None:
    """JSON of a text escapes what must be escaped, wherever it stands."""
    code = r"""
    const texts = [
      "", "plain", "\"", "a\"b\\c", "\n", "a\nb\tc\u0001", "é\u007f\u0080", "\"\"", "€\n\ud800",
    ];
    for (const text of texts) {
      const json = JSON.stringify(text);
      console.log(json, JSON.parse(json) === text);
    }
    """
    assert run(code).stdout.splitlines() == [
        '"" true',
        '"plain" true',
        r'"\"" true',
        r'"a\"b\\c" true',
        r'"\n" true',
        r'"a\nb\tc\u0001" true',
        '"é\x7f\x80" true',
        r'"\"\"" true',
        r'"€\n\ud800" true',
    ]
