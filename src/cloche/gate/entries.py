"""What a journal says: one type per kind of entry.

Owns the entry types of format 1 and the split of a run's inputs into entries.
Invariants:
- an entry holds nothing that differs between two executions of the same run: no run id, no real
  time, no memory use. The one exception is what the real world did: values, errors, durations;
- documents inside entries are JSON text (`bytes`), so the journal never changes a number or the
  order of keys; args and documents are canonical, values keep the order of their keys;
- contents (code, stdin, files) follow `RunStarted` as `Content` entries, in parts of a bounded
  size, so that an entry stays small whatever a run is given.

It knows neither bytes on disk nor hashes: `journal` does.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from cloche.gate.canonical import decode, encode_canonical
from cloche.gate.errors import GateMisuseError, ValueInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT_VERSION = 1

# The size of one part of a content: small against the limit of an entry, large against overhead.
CONTENT_PART_BYTES = 1 << 20

# Fields that hold JSON text, by entry: canonical, or plain where a guest sees the order of keys.
CANONICAL_FIELDS = {
    "run_started": ("limits", "policy"),
    "effect_started": ("args",),
    "run_finished": ("error",),
}
PLAIN_FIELDS = {"effect_refused": ("error",), "effect_completed": ("value", "error")}

COUNT_MAX = (1 << 63) - 1

# Texts of limits and policies: most runs of a process have the same few.
_KEPT_COUNT = 32
_KEPT_LIMIT_BYTES = 16_384
DIGEST_PATTERN = "^[0-9a-f]{64}$"

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
# No upper bound: msgpack holds no integer over 64 bits.
Unsigned = Annotated[int, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]


class _Entry(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="entry", forbid_unknown_fields=True
):
    """Base of all entries: the tag stands in the field `entry`."""


class ContentRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A content that follows in `Content` entries; an empty content has none."""

    sha256: Digest
    size_bytes: Count


class FileRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that the run was given."""

    path: str
    read_only: bool
    content: ContentRef


class RunStarted(_Entry, frozen=True, kw_only=True, tag="run_started", omit_defaults=True):
    """The first entry: everything that the guest's first turn depends on, and the rules.

    `state` names the session state that the run starts from; it is absent where the run starts
    from its image.
    """

    format: Count
    language: str
    image_id: str
    world: str
    filename: str
    code: ContentRef
    files: tuple[FileRef, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    stdin: ContentRef
    cwd: str
    seed: Unsigned
    now_ns: Count
    limits: bytes
    policy: bytes
    state: str = ""


class Content(_Entry, frozen=True, kw_only=True, tag="content"):
    """One part of a content, in order; `offset` counts the bytes of the parts before."""

    sha256: Digest
    offset: Count
    data: bytes


class EffectStarted(_Entry, frozen=True, kw_only=True, tag="effect_started"):
    """Policy and budget let the effect pass; it was performed after this entry was durable."""

    sequence: Count
    task: str
    ordinal: Count
    kind: str
    target: str
    args: bytes


class EffectRefused(_Entry, frozen=True, kw_only=True, tag="effect_refused"):
    """The effect was not performed.

    `args_sha256` is empty where the args are no canonical JSON within the limits; `kind` and
    `target` are empty where they are no kind or target.
    """

    sequence: Count
    task: str
    ordinal: Count
    kind: str
    target: str
    args_sha256: str
    error: bytes


class EffectCompleted(_Entry, frozen=True, kw_only=True, tag="effect_completed"):
    """The world answered: exactly one of `value` and `error` is not None."""

    sequence: Count
    value: bytes | None
    error: bytes | None
    duration_ns: Count


class Delivered(_Entry, frozen=True, kw_only=True, tag="delivered"):
    """These answers reached the guest, in this order, after the virtual clock advanced.

    No sequences: the guest's own timer was due before any answer.
    """

    sequences: tuple[Count, ...]
    clock_advance_ns: Count


class RunFinished(_Entry, frozen=True, kw_only=True, tag="run_finished"):
    """The last entry: how the run ended. Outputs and files are digests."""

    exit_code: int
    stage: str
    error: bytes | None
    stdout_sha256: Digest
    stderr_sha256: Digest
    files_sha256: Digest
    clock_ns: Count
    effects: dict[str, Count]
    refused: Count


Entry: TypeAlias = (
    RunStarted | Content | EffectStarted | EffectRefused | EffectCompleted | Delivered | RunFinished
)

ENTRY_NAMES: dict[type, str] = {
    kind: str(kind.__struct_config__.tag)
    for kind in (
        RunStarted,
        Content,
        EffectStarted,
        EffectRefused,
        EffectCompleted,
        Delivered,
        RunFinished,
    )
}


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file given to a run."""

    path: str
    content: bytes
    read_only: bool = False


class RunInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run is given. `limits` and `policy` are JSON text, recorded canonically.

    `env` keeps its order, because a guest can see it. `seed` has 64 bits; `now_ns` is the start of
    the virtual clock in nanoseconds of the Unix epoch, below 2**63.

    Raises:
        GateMisuseError: on construction, when a number is out of range or a text is not Unicode.
    """

    language: str
    image_id: str
    filename: str
    code: bytes
    files: tuple[InputFile, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    stdin: bytes = b""
    cwd: str = "/"
    seed: int = 0
    now_ns: int = 0
    limits: bytes = b"{}"
    policy: bytes = b"{}"
    world: str = "sandboxed"
    state: str = ""

    def __post_init__(self) -> None:
        _check("RunInputs", "seed", 0 <= self.seed < 1 << 64)
        _check("RunInputs", "now_ns", 0 <= self.now_ns <= COUNT_MAX)
        paths = (file.path for file in self.files)
        names = (
            *(self.language, self.image_id, self.filename, self.cwd, self.world),
            self.state,
        )
        for text in (*names, *paths, *self.args, *(part for pair in self.env for part in pair)):
            _check("RunInputs", f"the text {text!r}", _is_unicode(text))


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, as the host knows it. Digests are SHA-256, 64 hexadecimal digits.

    `error` is a JSON-ready document or None; it must hold nothing that differs between two
    executions (elapsed time, memory use).

    Raises:
        GateMisuseError: on construction, when a number is out of range or a digest is none.
    """

    exit_code: int
    stage: str
    stdout_sha256: str
    stderr_sha256: str
    files_sha256: str
    clock_ns: int
    error: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check("RunOutcome", "exit_code", abs(self.exit_code) <= COUNT_MAX)
        _check("RunOutcome", "clock_ns", 0 <= self.clock_ns <= COUNT_MAX)
        for name in ("stdout_sha256", "stderr_sha256", "files_sha256"):
            is_digest = re.fullmatch(DIGEST_PATTERN, getattr(self, name)) is not None
            _check("RunOutcome", name, is_digest)


def _check(call: str, what: str, holds: bool) -> None:
    # Found here, before anything is written that no reader would take.
    if not holds:
        raise GateMisuseError(call=call, problem=f"{what} cannot be recorded")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_inputs(inputs: RunInputs) -> Iterator[RunStarted | Content]:
    """Yield the entries that stand for these inputs: `RunStarted`, then each content once.

    Raises:
        GateMisuseError: the limits or the policy are no JSON.
    """
    contents = (inputs.code, inputs.stdin, *(file.content for file in inputs.files))
    refs = tuple(_reference(content) for content in contents)
    yield RunStarted(
        format=FORMAT_VERSION,
        language=inputs.language,
        image_id=inputs.image_id,
        world=inputs.world,
        filename=inputs.filename,
        code=refs[0],
        files=tuple(
            FileRef(path=file.path, read_only=file.read_only, content=ref)
            for file, ref in zip(inputs.files, refs[2:], strict=True)
        ),
        args=inputs.args,
        env=inputs.env,
        stdin=refs[1],
        cwd=inputs.cwd,
        seed=inputs.seed,
        now_ns=inputs.now_ns,
        limits=_canonical("limits", inputs.limits),
        policy=_canonical("policy", inputs.policy),
        state=inputs.state,
    )
    written: set[str] = set()
    for content, ref in zip(contents, refs, strict=True):
        if ref.sha256 not in written:
            written.add(ref.sha256)
            yield from _parts(content, ref.sha256)


def content_order(started: RunStarted) -> Iterator[ContentRef]:
    """Yield the contents that follow `RunStarted`, each once, in the order of their entries."""
    seen: set[str] = set()
    for ref in (started.code, started.stdin, *(file.content for file in started.files)):
        if ref.sha256 not in seen:
            seen.add(ref.sha256)
            yield ref


def join_inputs(started: RunStarted, contents: Sequence[Content]) -> RunInputs:
    """Return the inputs that these entries stand for.

    Raises:
        ValueError: a part is missing, out of place, or its digest is wrong. The message says where.
    """
    parts = iter(contents)
    bodies = {ref.sha256: _collect(ref, parts) for ref in content_order(started)}
    if next(parts, None) is not None:
        raise ValueError("a content that no input names")
    return RunInputs(
        language=started.language,
        image_id=started.image_id,
        world=started.world,
        filename=started.filename,
        code=bodies[started.code.sha256],
        files=tuple(
            InputFile(path=file.path, content=bodies[file.content.sha256], read_only=file.read_only)
            for file in started.files
        ),
        args=started.args,
        env=started.env,
        stdin=bodies[started.stdin.sha256],
        cwd=started.cwd,
        seed=started.seed,
        now_ns=started.now_ns,
        limits=started.limits,
        policy=started.policy,
        state=started.state,
    )


def _canonical(name: str, text: bytes) -> bytes:
    try:
        return _kept(text) if len(text) <= _KEPT_LIMIT_BYTES else encode_canonical(decode(text))
    except (msgspec.DecodeError, ValueInvalidError) as error:
        raise GateMisuseError(call="RunInputs", problem=f"{name} is no JSON: {error}") from error


@lru_cache(maxsize=_KEPT_COUNT)
def _kept(text: bytes) -> bytes:
    return encode_canonical(decode(text))


def _reference(content: bytes) -> ContentRef:
    return ContentRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _parts(content: bytes, sha256: str) -> Iterator[Content]:
    for offset in range(0, len(content), CONTENT_PART_BYTES):
        data = content[offset : offset + CONTENT_PART_BYTES]
        yield Content(sha256=sha256, offset=offset, data=data)


def _collect(ref: ContentRef, parts: Iterator[Content]) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    while size_bytes < ref.size_bytes:
        part = next(parts, None)
        if part is None or part.sha256 != ref.sha256 or part.offset != size_bytes or not part.data:
            raise ValueError(f"content {ref.sha256} lacks its part at offset {size_bytes}")
        pieces.append(part.data)
        size_bytes += len(part.data)
    content = b"".join(pieces)
    if _reference(content) != ref:
        raise ValueError(f"content {ref.sha256} has other bytes or another size")
    return content


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry as data: `entry` first, JSON text parsed, the data of contents as bytes."""
    tag = ENTRY_NAMES[type(entry)]
    document: dict[str, Any] = {"entry": tag}
    json_fields = (*CANONICAL_FIELDS.get(tag, ()), *PLAIN_FIELDS.get(tag, ()))
    for name in entry.__struct_fields__:
        value = getattr(entry, name)
        if name in json_fields:
            value = None if value is None else decode(value)
        elif not isinstance(value, bytes):
            value = msgspec.to_builtins(value)
        document[name] = value
    return document
