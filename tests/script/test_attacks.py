"""More ways to a constructor that makes code of text, and to what lies behind the realm."""

from __future__ import annotations

import pytest

from cloche.script.harness import ScriptHarness

ATTACKS = [
    "Reflect.getPrototypeOf(Reflect.getPrototypeOf(async () => {})).constructor(CODE)()",
    "Object.getOwnPropertyDescriptor(Object.getPrototypeOf(() => {}), KEY).value(CODE)()",
    "Reflect.construct((() => {})[KEY], [CODE])()",
    "Reflect.apply(Reflect.get(function () {}, KEY), null, [CODE])()",
    "Reflect.get(async function* () {}, KEY)(CODE)().next()",
    "tools.x[KEY](CODE)()",
    "tools.search[KEY][KEY](CODE)()",
    "help[KEY](CODE)()",
    "context.sandbox[KEY][KEY](CODE)()",
    "context.telemetry.emitProgress[KEY](CODE)()",
    "(await tools.search('x'))[KEY][KEY](CODE)()",
    "new Proxy(() => {}, {})[KEY](CODE)()",
    "new Proxy(class {}, { get: (target, key) => Reflect.get(target, key) })[KEY](CODE)()",
    "(class { static #p() {} static g() { return this.#p; } }).g()[KEY](CODE)()",
    "(() => {}).bind(null)[KEY](CODE)()",
    "JSON.parse[KEY](CODE)()",
    "Symbol.prototype[Symbol.toPrimitive][KEY](CODE)()",
    "Object.getOwnPropertyDescriptor(Map.prototype, 'size').get[KEY](CODE)()",
    "Iterator.prototype.map[KEY](CODE)()",
    "structuredClone[KEY](CODE)()",
    "queueMicrotask[KEY](CODE)()",
    "AbortSignal.timeout[KEY](CODE)()",
    "(() => { try { null.x } catch (e) { return e[KEY][KEY](CODE)() } })()",
    "(await tools.none().catch((e) => e))[KEY][KEY](CODE)()",
    "Object.setPrototypeOf(() => {}, null)[KEY](CODE)()",
    "new Error()[KEY].prepareStackTrace[KEY](CODE)()",
    "setTimeout(CODE, 0)",
    "(0, globalThis['ev' + 'al'])(CODE)",
    "globalThis['ev' + 'al'].call(null, CODE)",
    "new ShadowRealm().evaluate('1')",
    "new Worker('data:text/javascript,1')",
    "new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))",
    "globalThis.__cloche.effect('tool', '$return', { value: 1 })",
    "globalThis['std'].evalScript('1')",
    "process.binding('x')",
]


@pytest.fixture(scope="module")
def harness():
    """Return a harness without tools."""
    return ScriptHarness()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("key", ["'constructor'", "'con' + 'structor'"])
def test_nothing_makes_code_of_text(harness, attack, key):
    """The code would do no harm, and is valid wherever it is taken: what throws refused it."""
    expression = attack.replace("KEY", key).replace("CODE", '"1"')
    source = f"try {{ await ({expression}); }} catch (e) {{ return e.name; }} return 'made';"
    result = harness.run(source, language="javascript")
    if result.error is None:
        assert result.value in {"TypeError", "ReferenceError", "EvalError"}
    else:
        assert result.error["code"] == "SCRIPT_BANNED_IDENTIFIER"
