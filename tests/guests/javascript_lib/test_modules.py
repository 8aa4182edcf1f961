"""Which modules there are, what is said of the others, and what loading the library must not do."""

from __future__ import annotations

import json

import pytest
from quickjs_rs import Runtime

from .driver import BUNDLE, HERE, run

AVAILABLE = """
assert assert/strict async_hooks buffer console constants crypto events fs fs/promises module os
path path/posix perf_hooks process punycode querystring readline readline/promises stream
stream/promises string_decoder sys timers timers/promises tty url util util/types
"""


def test_every_module_is_there_under_both_names() -> None:
    """`x` and `node:x` are the same object."""
    names = json.dumps(AVAILABLE.split())
    done = run(
        f"console.log({names}.filter((n) => require(n) !== require('node:' + n)).join() || 'same')"
    )

    assert done.lines == ["same"]


WEB_GLOBALS = """
AbortController AbortSignal Blob Buffer CustomEvent DOMException Event EventTarget File Headers
Request Response TextDecoder TextEncoder URL URLSearchParams atob btoa crypto fetch performance
process queueMicrotask structuredClone
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("node:net", "network access goes through fetch()"),
        ("http", "network access goes through fetch()"),
        ("child_process", "a program is one process with one thread"),
        ("node:worker_threads", "a program is one process with one thread"),
        ("vm", "the engine offers no such interface"),
        ("zlib", "there is no compression"),
    ],
)
def test_a_module_that_cannot_be_says_why(name: str, reason: str) -> None:
    """The error names the module and the way to go instead."""
    done = run(f"try {{ require('{name}') }} catch (e) {{ console.log(e.code, e.message) }}")

    bare = name.removeprefix("node:")
    assert done.lines == [
        f"ERR_MODULE_NOT_AVAILABLE node:{bare} is not available in the sandbox: {reason}"
    ]


def test_an_unknown_name_is_left_to_the_loader() -> None:
    """Only a `node:` name that node lacks is an error here."""
    done = run(
        "console.log(String(require('lodash')));"
        "try { require('node:lodash') } catch (e) { console.log(e.message) }"
    )

    assert done.lines == ["undefined", "No such built-in module: node:lodash"]


def test_loading_asks_the_host_for_nothing() -> None:
    """It is evaluated when an image is made: no clock, no randomness, no file may be in it."""
    asked: list[int] = []

    def call(op: int, _payload: object) -> bytes:
        asked.append(op)
        return b""

    with Runtime() as runtime, runtime.new_context(timeout=30) as context:
        context.register("__hostCall", call)
        context.eval((HERE / "core.js").read_text())
        context.eval(BUNDLE.read_text())

    assert asked == []


def test_the_globals_are_there_and_not_enumerable() -> None:
    """Every web global is defined and does not show in `for in`."""
    done = run(
        f"const names = {json.dumps(WEB_GLOBALS.split())};"
        "console.log(names.filter((n) => !(n in globalThis) ||"
        "Object.keys(globalThis).includes(n)).join() || 'all')"
    )

    assert done.lines == ["all"]


def test_classes_keep_their_names() -> None:
    """The bundler's renaming must not reach a program."""
    done = run(
        "console.log([URL, URLSearchParams, Blob, File, Event, EventTarget, AbortSignal,"
        "TextDecoder, Buffer, require('events'), require('fs').Stats, require('fs').ReadStream,"
        "require('stream').Readable, require('stream').PassThrough].map((c) => c.name).join(' '))"
    )

    assert " ".join(done.lines) == (
        "URL URLSearchParams Blob File Event EventTarget AbortSignal TextDecoder Buffer "
        "EventEmitter Stats ReadStream Readable PassThrough"
    )


def test_callbacks_are_error_first_and_late() -> None:
    """A file callback gets (error, data) after the calling code is done."""
    done = run(
        "const fs = require('fs'); fs.writeFileSync('/a', 'x');"
        "fs.readFile('/a', 'utf8', (e, d) => console.log(e, d)); console.log('first')"
    )

    assert done.lines == ["first", "null x"]


def test_an_error_in_a_callback_is_uncaught() -> None:
    """It ends in the event loop and is not swallowed."""
    done = run("require('fs').readFile('/none', () => { throw new Error('in callback') })")

    assert done.uncaught == ["Error: in callback"]


def test_a_listener_that_throws_does_not_stop_the_others() -> None:
    """Dispatching reports the error and goes on."""
    done = run(
        "const t = new EventTarget(); t.addEventListener('a', () => { throw new Error('bad') });"
        "t.addEventListener('a', () => console.log('second')); t.dispatchEvent(new Event('a'))"
    )

    assert (done.lines, done.uncaught) == (["second"], ["Error: bad"])


def test_descriptors_are_limited() -> None:
    """The 257th open file is EMFILE."""
    done = run(
        "const fs = require('fs'); fs.writeFileSync('/a', '');"
        "let n = 0; try { for (;;) { fs.openSync('/a'); n += 1 } }"
        "catch (e) { console.log(n, e.code) }"
    )

    assert done.lines == ["256 EMFILE"]


def test_a_deep_tree_is_removed() -> None:
    """Removal does not recurse: the depth of a tree is not the depth of the stack."""
    done = run(
        "const fs = require('fs'); const p = '/r' + '/d'.repeat(60);"
        "fs.mkdirSync(p, {recursive: true}); fs.writeFileSync(p + '/f', '');"
        "fs.rmSync('/r', {recursive: true}); console.log(fs.readdirSync('/').length)"
    )

    assert done.lines == ["0"]
