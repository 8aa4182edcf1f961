"""Small guests written as text, and machines to run them on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import wasmtime

from cloche.engine.abi import Report, StartInput, encode
from cloche.engine.adapters.drivers import JavaScriptDriver, PythonDriver
from cloche.engine.adapters.images import Image, Images
from cloche.engine.adapters.instance import Instance, Outcome, deadline_after
from cloche.engine.adapters.machine import Machine
from cloche.engine.adapters.wasm import Engine, Linker, Store
from cloche.engine.catalogue import CATALOGUE
from cloche.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MIB = 1 << 20
NS_PER_S = 1_000_000_000
NOW_NS = 1_700_000_000 * NS_PER_S

DONE = {512: b'{"state":"done"}'}
"""Put into a guest: a report at 512, 16 bytes long."""

JAVASCRIPT_GUEST = """
(module
  (import "cloche" "gate" (func $gate (param i32 i32 i32) (result i32)))
  (import "cloche" "gate_read" (func $gate_read (param i32)))
  (memory (export "memory") 1 4)
  {data}
  (func (export "_initialize"))
  (func (export "cloche_init") (result i32) i32.const 0)
  (func $alloc (export "cloche_alloc") (param i32) (result i32) {alloc})
  (func (export "cloche_seal") (result i32) i32.const 0)
  (func (export "cloche_prelude") (param i32 i32) (result i32) i32.const 0)
  (func $turn (export "cloche_turn") (param i32 i32) (result i32) {turn} i32.const 0))
"""
PYTHON_GUEST = """
(module
  (import "host" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 4)
  {data}
  (func $alloc (export "host_alloc") (param i32) (result i32) {alloc})
  (func $turn (export "turn") (param i32 i32) (result i32) {turn} i32.const 0))
"""


_ENGINES: dict[bool, Engine] = {}


def engine(*, fuel: bool = False) -> Engine:
    """Return the engine of all small guests."""
    if fuel not in _ENGINES:
        _ENGINES[fuel] = Engine(fuel=fuel, tick_ms=1)
    return _ENGINES[fuel]


@cache
def images() -> Images:
    """Return this process's images, in the cache that every run shares."""
    return Images(Limits())


def load(text: str, folder: Path, *, fuel: bool = False) -> wasmtime.Module:
    """Compile a module as images are: to a file, and mapped from there."""
    compiled = folder / "guest.cwasm"
    compiled.unlink(missing_ok=True)
    compiled.write_bytes(engine(fuel=fuel).compile(wasmtime.wat2wasm(text)))
    return engine(fuel=fuel).load(compiled)


class User:
    """The user object of a store without a machine."""

    store: Store


def store(
    text: str,
    folder: Path,
    *,
    signatures: Mapping[str, str],
    imports: Mapping[str, tuple[str, Callable[..., Any]]] | None = None,
    fuel: bool = False,
) -> Store:
    """Return an instance of a module with imports `host.<name>`, each (letters, function)."""
    linker = Linker(engine(fuel=fuel))
    for name, (parameters, function) in (imports or {}).items():
        linker.define("host", name, parameters, function)
    user = User()
    user.store = Store(
        linker.engine, linker.prepare(load(text, folder, fuel=fuel), signatures), user
    )
    user.store.linker = linker  # type: ignore[attr-defined] - as an image does: keeps callbacks
    return user.store


def machine(limits: Limits | None = None, **options: Any) -> Machine:
    """Return a machine whose output is collected in `output`, by stream."""
    output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    made = Machine(
        limits or Limits(),
        **{"now_ns": NOW_NS, "seed": 1, "sink": lambda name, data: output[name].extend(data)}
        | options,
    )
    made.output = output  # type: ignore[attr-defined]
    return made


def hostile(
    language: str,
    folder: Path,
    turn: str,
    *,
    alloc: str = "i32.const 1024",
    data: Mapping[int, bytes] = DONE,
    limits: Limits | None = None,
) -> Instance:
    """Return an instance of a guest that follows the ABI but for the code given."""
    text = JAVASCRIPT_GUEST if language == "javascript" else PYTHON_GUEST
    linker = Linker(engine())
    driver = JavaScriptDriver() if language == "javascript" else PythonDriver()
    driver.define_imports(linker)
    segments = "".join(f'(data (i32.const {at}) "{escaped(body)}")' for at, body in data.items())
    module = load(text.format(turn=turn, alloc=alloc, data=segments), folder)
    pre = linker.prepare(module, driver.signatures)
    image = Image(definition=CATALOGUE[language], linker=linker, pre=pre, driver=driver)
    return Instance(image, machine(limits))


def escaped(body: bytes) -> str:
    """Return bytes as they stand in a data segment."""
    return "".join(f"\\{byte:02x}" for byte in body)


def run_turn(instance: Instance, body: bytes = b"{}", *, seconds: float = 60) -> Outcome:
    """Run one turn with a deadline, which is far away where a test is not about it."""
    return instance.turn(body, deadline_ns=deadline_after(int(seconds * NS_PER_S)))


def start_input(code: str, language: str, *, persist: bool = False, seed: int = 1) -> bytes:
    """Return the turn input that starts a program."""
    name = "main.js" if language == "javascript" else "main.py"
    return encode(
        StartInput(
            language=language,
            filename=name,
            code=code,
            argv=[name],
            env={},
            cwd="/",
            seed=seed,
            now_ns=str(NOW_NS),
            path=["/"],
            persist=persist,
        )
    )


def guest(image_name: str, limits: Limits | None = None, **options: Any) -> Instance:
    """Return a fresh instance of an image of the catalogue."""
    return Instance(images().get(image_name), machine(limits, **options))


def printed(instance: Instance) -> str:
    """Return what an instance printed since the last time."""
    output = instance.machine.output  # type: ignore[attr-defined]
    text = (output["stdout"] + output["stderr"]).decode()
    output["stdout"].clear()
    output["stderr"].clear()
    return text


def run_code(instance: Instance, code: str, *, persist: bool = True) -> str:
    """Run a program to its end and return what it printed; it must not fail."""
    outcome = run_turn(instance, start_input(code, instance.image.language, persist=persist))
    text = printed(instance)
    assert outcome == Report(state="done"), (outcome, text)
    return text
