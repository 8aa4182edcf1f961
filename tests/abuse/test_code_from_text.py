"""Attack: a script makes code of text, by every way to a constructor of functions there is."""

from __future__ import annotations

import pytest

import cloche

# Each returns "made" if it could make code of text.
ATTACKS = {
    "direct eval": "globalThis['ev' + 'al']('1'); return 'made'",
    "indirect eval": "(0, globalThis['ev\\x61l'])('1'); return 'made'",
    "bare eval": "const run = [eval][0]; run('1'); return 'made'",
    "global function": "const F = globalThis['Func' + 'tion']; return F('return \"made\"')()",
    "new function": "const F = globalThis['Func' + 'tion']; return new F('return \"made\"')()",
    "arrow": "return (() => {}).constructor('return \"made\"')()",
    "function": "return (function () {}).constructor('return \"made\"')()",
    "method": "return ({ m() {} }).m.constructor('return \"made\"')()",
    "getter": (
        "const o = { get a() { return 1; } };"
        "return Object.getOwnPropertyDescriptor(o, 'a').get.constructor('return \"made\"')()"
    ),
    "class": "return (class {}).constructor('return \"made\"')()",
    "bound": "return (() => {}).bind().constructor('return \"made\"')()",
    "native": "return console.log.constructor('return \"made\"')()",
    "tool": "return tools.search.constructor('return \"made\"')()",
    "help": "return help.constructor('return \"made\"')()",
    "global object": "return globalThis.constructor.constructor('return \"made\"')()",
    "string": "return 'x'.constructor.constructor('return \"made\"')()",
    "number": "return (1)['constructor']['constructor']('return \"made\"')()",
    "error": "try { null.x } catch (e) { return e.constructor.constructor('return \"made\"')() }",
    "promise": "return (async () => {})().constructor.constructor('return \"made\"')()",
    "tool promise": (
        "const p = tools.search('x'); return p.constructor.constructor('return \"made\"')()"
    ),
    "result": "return (await tools.search('x')).constructor.constructor('return \"made\"')()",
    "async": "return await (async () => {}).constructor('return \"made\"')()",
    "generator": "return (function* () {}).constructor('return \"made\"')().next().value",
    "async generator": (
        "return (await (async function* () {}).constructor('return \"made\"')().next()).value"
    ),
    "prototype": "return Object.getPrototypeOf(() => {}).constructor('return \"made\"')()",
    "async prototype": (
        "return await Object.getPrototypeOf(async () => {}).constructor('return \"made\"')()"
    ),
    "constructor of constructors": (
        "const G = (function* () {}).constructor;"
        "return Object.getPrototypeOf(G)('return \"made\"')()"
    ),
    "reflect": ("return Reflect.construct((() => {}).constructor, ['return \"made\"'], Object)()"),
    "apply": "return Reflect.apply((() => {}).constructor, null, ['return \"made\"'])()",
    "subclass": (
        "const F = (() => {}).constructor; class G extends F {} return new G('return \"made\"')()"
    ),
    "proxy": "return new Proxy((() => {}).constructor, {})('return \"made\"')()",
    "timer": "setTimeout('globalThis.made = 1', 0); return 'made'",
    "interval": "setInterval('globalThis.made = 1', 0); return 'made'",
    "immediate": "setImmediate('globalThis.made = 1'); return 'made'",
    "import": "const i = (n) => import(n); await i('node:vm'); return 'made'",
    "import of data": "await import('data:text/javascript,export default 1'); return 'made'",
    "import of a file": "await import('/script.js'); return 'made'",
    "require": "return globalThis['req' + 'uire']('vm') && 'made'",
    "process": "return globalThis['pro' + 'cess'].mainModule && 'made'",
    "stack frames": (
        "let found; Error.prepareStackTrace = (e, sites) => { found = sites; return ''; };"
        "new Error().stack; return found[0].getFunction().constructor('return \"made\"')()"
    ),
    "own constructor": (
        "Object.defineProperty(Object.getPrototypeOf(() => {}), 'constructor', { value: 1 });"
        "return 'made'"
    ),
    "out of the wrapper": "})(); globalThis['ev' + 'al']('1'); return 'made'; (() => {",
    "the host's own": "$run(() => async () => 'made', [], {}, {}); return 'made'",
}


@pytest.fixture(scope="module")
def harness():
    """Return a harness without tools of its own."""
    return cloche.ScriptHarness()


@pytest.mark.parametrize("name", ATTACKS)
def test_no_code_is_made_of_text(harness, name):
    """Every way ends in an error, and the next script finds all as it was."""
    result = harness.run(ATTACKS[name], language="javascript")
    assert (result.status, result.value) == ("failed", None), result
    assert result.error["code"] in {
        "SCRIPT_RUNTIME",
        "SCRIPT_BANNED_IDENTIFIER",
        "SCRIPT_SYNTAX",
    }
    assert harness.run("return 1", language="javascript").value == 1


ORDINARY = {
    "a class that extends Error": (
        (
            "class E extends Error { constructor(m) { super(m); this.name = 'E'; } }"
            "const e = new E('x'); return `${e.name} ${e.message} ${e instanceof E} ${e}`"
        ),
        "E x true E: x",
    ),
    "a field that is named like one of Error's": (
        "class E extends Error { name = 'Mine' } return `${new E('x')}`",
        "Mine: x",
    ),
    "a message of one's own": ("const e = new Error('a'); e.message = 'b'; return e.message", "b"),
    "an own toString": ("const o = {}; o.toString = () => 'mine'; return `${o}`", "mine"),
    "an own constructor": (
        (
            "function Old() {} Old.prototype = Object.create(Error.prototype);"
            "Old.prototype.constructor = Old; Old.prototype.name = 'Old';"
            "return new Old().constructor === Old && new Old().name"
        ),
        "Old",
    ),
    "an own then": ("const o = {}; o.then = (done) => done(5); return await o", 5),
    "var and functions": ("var a = 1; function f() { return a; } return f()", 1),
    "a variable named like a global": ("const tools = 1, context = 2; return tools + context", 3),
    "sorting and copies": (
        "return [...[3, 1, 2]].sort().concat(Object.keys({ b: 1 })).join()",
        "1,2,3,b",
    ),
    "classes and collections": (
        "class S extends Map { get size2() { return this.size * 2; } }return new S([[1, 2]]).size2",
        2,
    ),
    "regular expressions and dates": (
        "return 'a-b'.replace(/-(.)/, (_, c) => c.toUpperCase()) + new Date(0).toISOString()",
        "aB1970-01-01T00:00:00.000Z",
    ),
    "timers": ("return await new Promise((done) => setTimeout(done, 5, 'late'))", "late"),
    "generators": ("return [...(function* () { yield 1; yield 2; })()]", [1, 2]),
    "symbols on one's own": ("const o = { [Symbol.toPrimitive]: () => 7 }; return +o", 7),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_code_works(harness, name):
    """What is frozen stands in nobody's way."""
    source, expected = ORDINARY[name]
    result = harness.run(source, language="javascript")
    assert (result.value, result.error) == (expected, None)


FROZEN = (
    "Object.prototype.x = 1",
    "Array.prototype.push = () => 1",
    "JSON.parse = () => 1",
    "Math.random = () => 1",
    "Promise.all = () => 1",
    "Promise.prototype.then = () => 1",
    "Object.prototype.toString = () => 'x'",
    "globalThis.fetch = 1",
    "globalThis.JSON = 1",
    "delete globalThis.Object",
    "console.log = 1",
    "Object.getPrototypeOf([][Symbol.iterator]()).next = 1",
    "Object.getPrototypeOf(async () => {}).x = 1",
    "Object.setPrototypeOf(Object.prototype, {})",
    "URL.prototype.href = 1; delete URL.prototype.toString",
)


@pytest.mark.parametrize("attack", FROZEN)
def test_what_the_language_offers_is_frozen(harness, attack):
    """Changing it is an error at once."""
    result = harness.run(attack, language="javascript")
    assert result.error["code"] == "SCRIPT_RUNTIME", result
