"""Building versions: what evaluates, what is refused, and that an image can be kept."""

from __future__ import annotations

import pytest

from apps.support import LIMITS, ask, build, host, parts
from cloche.apps.errors import (
    AppEnvironmentError,
    AppImageError,
    BuildError,
    HandlerMissingError,
    ManifestError,
    TopLevelEffectError,
    TopLevelTimeError,
)

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
APPS = {
    "javascript": "const at = Math.random(); export default () => new Response(`${at}`)",
    "python": "import random\nat = random.random()\ndef handle(r): return str(at)",
}
LOOPS = {
    "javascript": ["for (;;);", "setInterval(() => {}, 9)", "await (async () => { for (;;); })()"],
    "python": ["while True: pass", "import time\nwhile True: time.sleep(1)"],
}  # fmt: skip


@pytest.mark.parametrize("language", APPS)
def test_the_same_files_make_the_same_image(language):
    """Other files, another environment or another secret make another."""
    code = APPS[language]
    first = build(code, language)
    assert first.image.id == build(code, language).image.id
    assert first.version == build(code, language).version
    assert ask(first).text == ask(build(code, language)).text
    others = [
        build(code, language, files={"x.txt": ""}),
        build(code, language, env={"A": "1"}),
        host(secret=b"of this machine").build(*parts(code, language)),
    ]
    assert len({first.image.id, *(other.image.id for other in others)}) == 4


@pytest.mark.parametrize("language", APPS)
def test_the_randomness_of_the_top_level_is_that_of_the_secret(language):
    """Who does not know the secret of a host cannot compute what its apps made of dice."""
    made = {
        ask(host(secret=secret).build(*parts(APPS[language], language))).text
        for secret in (b"one", b"two", b"one")
    }
    assert len(made) == 2


@pytest.mark.parametrize("language", APPS)
def test_a_kept_image_needs_no_evaluation(language):
    """What `keep` returned opens for the same files and answers the same."""
    bundle, manifest = parts(APPS[language], language)
    built = host().build(bundle, manifest)
    again = host().restore(bundle, manifest, None, built.keep(KEY), KEY)
    assert again.image.id == built.image.id
    assert again.handlers == built.handlers == {"fetch"}
    assert ask(again).text == ask(built).text


def test_a_kept_image_opens_for_nothing_else():
    """Other files, another key, a changed byte, nothing at all."""
    bundle, manifest = parts(APPS["javascript"])
    kept = host().build(bundle, manifest).keep(KEY)
    other, _ = parts(APPS["javascript"] + " ")
    changed = kept[:200] + bytes([kept[200] ^ 1]) + kept[201:]
    for files, blob, key in (
        (other, kept, KEY),
        (bundle, kept, OTHER_KEY),
        (bundle, changed, KEY),
        (bundle, b"", KEY),
    ):
        with pytest.raises(AppImageError):
            host().restore(files, manifest, None, blob, key)


@pytest.mark.parametrize(
    ("language", "code", "asked"),
    [
        ("javascript", "await fetch('https://a.example/')", "http.fetch GET https://a.example"),
        ("javascript", "net.fetch('https://a.example/')", "http.fetch GET https://a.example"),
        ("javascript", "await tools.x()", "tool x"),
        ("python", "import urllib.request\nurllib.request.urlopen('https://a.example/')",
         "http.fetch GET https://a.example"),
        ("python", "from cloche_app import log\nlog.info('x')", "app log"),
    ],
)  # fmt: skip
def test_the_top_level_asks_for_nothing(language, code, asked):
    """An effect there would be asked once, and its answer be that of every request."""
    with pytest.raises(TopLevelEffectError) as caught:
        build(code, language)
    assert caught.value.asked == asked
    assert caught.value.code == "APP_TOP_LEVEL_EFFECT"


@pytest.mark.parametrize(
    ("language", "code"), [(language, code) for language in LOOPS for code in LOOPS[language]]
)
def test_the_top_level_must_end(language, code):
    """Loops and intervals are stopped, and the error says where they belong."""
    limits = LIMITS.replace({"apps": {"build_timeout_ms": 400}})
    with pytest.raises(TopLevelTimeError, match="leave loops, intervals and servers to handlers"):
        build(code, language, host_limits=limits)


@pytest.mark.parametrize(
    ("language", "code", "problem"),
    [
        ("javascript", "throw new RangeError('r')", "RangeError: r"),
        ("javascript", "export default {", "SyntaxError"),
        ("javascript", "import './missing.js'", "Cannot find module"),
        ("javascript", "export default { fetch: 1 }", "fetch is number, not a function"),
        ("javascript", "process.exit(0)", "ended before it was complete"),
        ("javascript", "await new Promise(() => {})", "ended before it was complete"),
        ("typescript", "const x: = 1", "main.ts"),
        ("python", "raise ValueError('v')", "ValueError: v"),
        ("python", "def handle(:", "SyntaxError"),
        ("python", "import missing", "No module named"),
        ("python", "handle = 1", "`handle` is no function"),
        ("python", "import sys\nsys.exit()", "ended before it was complete"),
    ],
)
def test_a_module_that_cannot_be_evaluated(language, code, problem):
    """The error has what the module printed, and is one for who deploys."""
    with pytest.raises(BuildError) as caught:
        build(code, language)
    assert type(caught.value) is BuildError
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", ""),
        ("javascript", "export const fetch = () => {}"),
        ("javascript", "export default 1"),
        ("javascript", "export default { feth() {} }"),
        ("python", ""),
        ("python", "def handel(request): pass"),
    ],
)
def test_a_module_without_a_handler(language, code):
    """Names that are nearly right are none."""
    with pytest.raises(HandlerMissingError, match="has no handler"):
        build(code, language)


def test_what_the_top_level_prints_is_kept():
    """For the log of the deployment."""
    assert build("console.log('up'); export default () => {}").printed == "up\n"


def test_an_app_of_files_alone_needs_no_image():
    """Nothing is evaluated, and it has no handler."""
    built = build("", main="", static="public", files={"public/index.html": "x"})
    assert (built.image, built.handlers, built.keep(KEY)) == (None, frozenset(), b"")


def test_values_of_the_environment():
    """Defaults of the manifest, what was set over them, and what lacks both."""
    code = "export default (r, env) => Response.json(env)"
    bundle, manifest = parts(code, env={"A": "1", "B": None})
    with pytest.raises(AppEnvironmentError, match="no value for B"):
        host().build(bundle, manifest)
    built = host().build(bundle, manifest, {"B": "2", "C": "3"})
    assert ask(built).json == {"A": "1", "B": "2", "C": "3"}


def test_the_top_level_sees_its_environment():
    """It is part of the image: who changes it builds again."""
    js = "const name = process.env.NAME; export default () => new Response(name)"
    py = "import os\nname = os.environ['NAME']\ndef handle(r): return name"
    for language, code in (("javascript", js), ("python", py)):
        assert ask(build(code, language, env={"NAME": "n"})).text == "n"


def test_images_of_other_languages_are_refused():
    """By name, and the one that scripts have."""
    for image in ("python", "javascript+script", "cobol"):
        with pytest.raises(ManifestError, match="image"):
            build("export default () => {}", image=image)


def test_numpy_is_found_by_the_import():
    """The image of an app with numpy has it imported already."""
    built = build("import numpy\ndef handle(r): return str(numpy.arange(3).sum())", "python")
    assert built.image.name == "python+numpy"
    assert ask(built).text == "3"


def test_the_files_of_a_version_are_read_only():
    """Code reads what lies beside it and cannot change it; /tmp is its own."""
    code = """
import os
def handle(r):
    told = [open("data/a.txt").read(), os.getcwd(), sorted(os.listdir("."))]
    open("/tmp/x", "w").write("mine")
    for name in ("data/a.txt", "new.txt"):
        try:
            open(name, "w")
        except OSError as error:
            told.append(type(error).__name__)
    return told
"""
    asked = ask(build(code, "python", files={"data/a.txt": "A"}))
    names = ["cloche.app.json", "data", "main.py"]
    assert asked.json == ["A", "/app", names, "PermissionError", "PermissionError"]
