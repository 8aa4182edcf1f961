"""What a run is asked to be: validated, complete, and without any default left open.

Pure. A `RunRequest` names everything that the guest's first turn depends on, so that two equal
requests give equal runs; who makes one fills in the seed and the time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from cloche.engine.abi import StartInput
from cloche.engine.catalogue import Language, choose_image
from cloche.exec.errors import InvalidRunError, UnsupportedLanguageError
from cloche.gate.entries import InputFile, RunInputs
from cloche.gate.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.engine.vfs import StoredFile
    from cloche.limits import Limits

LANGUAGES: Final[dict[str, Language]] = {
    "javascript": "javascript",
    "js": "javascript",
    "typescript": "javascript",
    "ts": "javascript",
    "python": "python",
    "py": "python",
}
SUFFIXES: Final[dict[str, str]] = {
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".tsx": "typescript",
    ".py": "python",
}
TYPESCRIPT_SUFFIXES: Final = (".ts", ".mts", ".cts", ".tsx")
DEFAULT_FILENAMES: Final = {"python": "main.py", "javascript": "main.js", "typescript": "main.ts"}
SEED_LIMIT: Final = 1 << 64
TIME_LIMIT_NS: Final = 1 << 63


def language_of_file(filename: str) -> str | None:
    """Return the language that a file's suffix says, None if it says none."""
    return SUFFIXES.get(PurePosixPath(filename).suffix.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run.

    Args:
        language: "javascript", "typescript" or "python", or a short form of these.
        code: the program.
        filename: what the program is called in traces; by language when empty.
        files: what it finds in its file system.
        args: its arguments, without the program's name.
        env: its environment.
        stdin: all of its input.
        cwd: where it starts.
        seed: of its randomness, 64 bits.
        now_ns: start of its clock, nanoseconds of the Unix epoch.
        image: by name; chosen from the program when None.
        limits: its ceilings.
        policy: what it may do.
        state: name of the session state that it starts from; None for a run of its own.

    Raises:
        UnsupportedLanguageError: no such language.
        InvalidRunError: something is too large or malformed. Nothing ran.
    """

    language: str
    code: str
    limits: Limits
    seed: int
    now_ns: int
    filename: str = ""
    files: tuple[StoredFile, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    cwd: str = "/"
    image: str | None = None
    policy: Policy = field(default_factory=Policy)
    state: str | None = None

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise UnsupportedLanguageError(
                f"cloche does not run {self.language!r}; it runs javascript, typescript and python",
                language=self.language,
            )
        if not self.filename:
            name = DEFAULT_FILENAMES.get(self._full_language(), "main.js")
            object.__setattr__(self, "filename", name)
        _check_request(self)

    def _full_language(self) -> str:
        return {"js": "javascript", "ts": "typescript", "py": "python"}.get(
            self.language, self.language
        )

    @property
    def guest_language(self) -> Language:
        """Which guest runs it."""
        return LANGUAGES[self.language]

    @property
    def is_typescript(self) -> bool:
        """Whether types are to be stripped from the program."""
        return self._full_language() == "typescript" or self.filename.endswith(TYPESCRIPT_SUFFIXES)

    @property
    def image_name(self) -> str:
        """Name of the image that it starts from."""
        return self.image or choose_image(self.guest_language, self.code)

    def start_input(self, code: str) -> StartInput:
        """Return the first turn input; `code` is the program as the guest can run it."""
        folder = str(PurePosixPath(self.cwd) / PurePosixPath(self.filename).parent)
        return StartInput(
            language=self.guest_language,
            filename=self.filename,
            code=code,
            argv=[self.filename, *self.args],
            env=dict(self.env),
            cwd=self.cwd,
            seed=self.seed,
            path=[folder],
            persist=self.state is not None,
        )

    def inputs(self, image_id: str, *, world: str) -> RunInputs:
        """Return what the journal says of this request."""
        return RunInputs(
            language=self._full_language(),
            image_id=image_id,
            filename=self.filename,
            code=self.code.encode(),
            files=tuple(
                InputFile(path=file.path, content=file.content, read_only=file.read_only)
                for file in self.files
            ),
            args=self.args,
            env=tuple(self.env.items()),
            stdin=self.stdin,
            cwd=self.cwd,
            seed=self.seed,
            now_ns=self.now_ns,
            limits=_canonical({name: self.limits.to_dict()[name] for name in ("guests", "gate")}),
            policy=_canonical(self.policy.to_document()),
            world=world,
            state=self.state or "",
        )


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _check_request(request: RunRequest) -> None:
    guests = request.limits.guests
    checks = (
        ("the program", _size(request.code, "the program"), guests.code_limit_bytes, "bytes"),
        ("stdin", len(request.stdin), guests.stdin_limit_bytes, "bytes"),
        ("the list of arguments", len(request.args), guests.argument_count_max, "entries"),
        (
            "the arguments",
            sum(_size(text, "an argument") for text in request.args),
            guests.argument_limit_bytes,
            "bytes",
        ),
        ("the environment", len(request.env), guests.environment_count_max, "entries"),
        (
            "the environment",
            sum(_size(k, "env") + _size(v, "env") for k, v in request.env.items()),
            guests.environment_limit_bytes,
            "bytes",
        ),
    )
    for what, found, limit, unit in checks:
        if found > limit:
            raise InvalidRunError(
                f"{what} has {found} {unit}; at most {limit} are allowed", found=found, limit=limit
            )
    for key, value in request.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise InvalidRunError(f"{key!r} cannot be the name of an environment variable")
    if any("\0" in text for text in request.args) or "\0" in request.filename:
        raise InvalidRunError("arguments and file names cannot hold NUL")
    if not request.cwd.startswith("/"):
        raise InvalidRunError(f"the working directory {request.cwd!r} does not start with /")
    if not 0 <= request.seed < SEED_LIMIT:
        raise InvalidRunError(f"the seed is {request.seed}; it must be between 0 and 2^64 - 1")
    if not 0 <= request.now_ns < TIME_LIMIT_NS:
        raise InvalidRunError("the start of the clock must lie between the years 1970 and 2262")


def _size(text: str, what: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRunError(f"{what} is not valid Unicode: {error.reason}") from None
