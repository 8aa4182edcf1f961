"""What a run is asked to be: validated, complete, and without any default left open.

Pure. A `RunRequest` names everything that the guest's first turn depends on, so that two equal
requests give equal runs; who makes one fills in the seed and the time.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from cloche.engine.abi import StartInput
from cloche.engine.catalogue import Language, choose_image
from cloche.exec.errors import InvalidRunError, UnsupportedLanguageError
from cloche.gate.entries import InputFile, RunInputs
from cloche.gate.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloche.engine.vfs import StoredFile
    from cloche.limits import Limits
    from cloche.limits.groups import GateLimits, GuestsLimits

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
# Runs of a session come with the same limits and folders again and again.
TEXTS_KEPT: Final = 64
VALUE_LENGTH_MAX: Final = 80  # letters of a wrong value that an error repeats


def full_language(language: str) -> str:
    """Return a language's name for its name or its short form."""
    return {"js": "javascript", "ts": "typescript", "py": "python"}.get(language, language)


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
        real_time: whether sleeping takes as long as it says, for programs that somebody watches at
            work; no part of what the journal says, and of no effect in a replay.

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
    real_time: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.language, str) or self.language not in LANGUAGES:
            raise UnsupportedLanguageError(
                f"cloche does not run {self.language!r}; it runs javascript, typescript and python",
                language=self.language,
            )
        if not self.filename:
            name = DEFAULT_FILENAMES.get(self._full_language(), "main.js")
            object.__setattr__(self, "filename", name)
        _check_request(self)

    def again(self, *, code: str, seed: int, now_ns: int, stdin: bytes) -> RunRequest:
        """Return this request with another program and input; the rest is known to be valid.

        Raises:
            InvalidRunError: one of them is too large or malformed.
        """
        guests = self.limits.guests
        if not _is_plain_start(guests, code=code, stdin=stdin, seed=seed, now_ns=now_ns):
            given = (("code", code, str), ("stdin", stdin, bytes), ("seed", seed, int),
                     ("now_ns", now_ns, int))  # fmt: skip
            for name, value, kind in given:
                _check_type(name, value, kind)
            _check_size("code", _size("code", (code,)), guests, "code_limit_bytes", "bytes")
            _check_size("stdin", len(stdin), guests, "stdin_limit_bytes", "bytes")
            check_start(seed=seed, now_ns=now_ns)
        made = object.__new__(RunRequest)
        for get, put in _SLOTS:
            put(made, get(self))
        _put_code(made, code)
        _put_seed(made, seed)
        _put_now_ns(made, now_ns)
        _put_stdin(made, stdin)
        return made

    def _full_language(self) -> str:
        return full_language(self.language)

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

    def start_input(self, code: str, *, now_ns: int) -> StartInput:
        """Return the first turn input.

        Args:
            code: the program as the guest can run it.
            now_ns: what the guest's clock says; in a session that may be later than asked for.
        """
        return StartInput(
            language=self.guest_language,
            filename=self.filename,
            code=code,
            argv=[self.filename, *self.args],
            env=dict(self.env),
            cwd=self.cwd,
            path=[_folder(self.cwd, self.filename)],
            persist=self.state is not None,
            seed=self.seed,
            now_ns=str(now_ns),
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
            limits=_limits_text(self.limits.guests, self.limits.gate),
            policy=_policy_text(self.policy),
            world=world,
            state=self.state or "",
        )


# A request like another one is made without a frozen class's `__setattr__`.
_slots: Final = {name: getattr(RunRequest, name) for name in RunRequest.__dataclass_fields__}
_put_code, _put_seed = _slots["code"].__set__, _slots["seed"].__set__
_put_now_ns, _put_stdin = _slots["now_ns"].__set__, _slots["stdin"].__set__
_SLOTS: Final = tuple(
    (slot.__get__, slot.__set__)
    for name, slot in _slots.items()
    if name not in ("code", "seed", "now_ns", "stdin")
)


@lru_cache(maxsize=TEXTS_KEPT)
def _folder(cwd: str, filename: str) -> str:
    return str(PurePosixPath(cwd) / PurePosixPath(filename).parent)


@lru_cache(maxsize=TEXTS_KEPT)
def _limits_text(guests: GuestsLimits, gate: GateLimits) -> bytes:
    return _canonical({"guests": guests.to_dict(), "gate": gate.to_dict()})


def _policy_text(policy: Policy) -> bytes:
    # Most runs may do nothing outside.
    return _canonical(policy.to_document()) if policy.kinds or policy.net is not None else b"{}"


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _check_request(request: RunRequest) -> None:
    if _is_plain(request):
        return  # nearly all are so, and the steps below would take longer than the rest of a run
    _check_types(request)
    _check_sizes(request)
    for key, value in request.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise invalid("env", key, "names that are not empty and hold no =, and no NUL")
    for field_name, texts in (("args", request.args), ("filename", (request.filename,))):
        for text in texts:
            if "\0" in text:
                raise invalid(field_name, text, "text without NUL")
    if not request.cwd.startswith("/") or "\0" in request.cwd:
        raise invalid("cwd", request.cwd, "a path that starts with / and holds no NUL")
    check_start(seed=request.seed, now_ns=request.now_ns)


def _is_plain_start(
    guests: GuestsLimits, *, code: str, stdin: bytes, seed: int, now_ns: int
) -> bool:
    """Whether what differs between two like requests is valid at first sight."""
    return (
        type(code) is str
        and type(stdin) is bytes
        and type(seed) is type(now_ns) is int
        and code.isascii()
        and len(code) <= guests.code_limit_bytes
        and len(stdin) <= guests.stdin_limit_bytes
        and 0 <= seed < SEED_LIMIT
        and 0 <= now_ns < TIME_LIMIT_NS
    )


def _is_plain(request: RunRequest) -> bool:
    """Whether a request is valid at first sight; one that is not may be so nevertheless."""
    guests = request.limits.guests
    filename, cwd, env = request.filename, request.cwd, request.env
    return (
        _is_plain_start(
            guests,
            code=request.code,
            stdin=request.stdin,
            seed=request.seed,
            now_ns=request.now_ns,
        )
        and type(filename) is type(cwd) is str
        and request.args == ()
        and type(env) is dict
        and not env
        and filename.isascii()
        and "\0" not in filename
        and len(filename) <= guests.path_limit_bytes
        and cwd.isascii()
        and cwd.startswith("/")
        and "\0" not in cwd
        and len(cwd) <= guests.path_limit_bytes
    )


def check_start(*, seed: int | None, now_ns: int | None) -> None:
    """Refuse a seed or a start of the clock that is out of range; None is to be chosen yet."""
    if seed is not None and not 0 <= seed < SEED_LIMIT:
        raise invalid("seed", seed, "0 to 2^64 - 1")
    if now_ns is not None and not 0 <= now_ns < TIME_LIMIT_NS:
        raise invalid("now_ns", now_ns, "0 to 2^63 - 1: a time in the years 1970 to 2262")


def _check_types(request: RunRequest) -> None:
    """Refuse what a caller without a type checker may pass: nothing of it may reach the guest."""
    expected: tuple[tuple[str, Any, type], ...] = (
        ("code", request.code, str),
        ("filename", request.filename, str),
        ("stdin", request.stdin, bytes),
        ("cwd", request.cwd, str),
        ("seed", request.seed, int),
        ("now_ns", request.now_ns, int),
        *(("args", text, str) for text in request.args),
        *(("env", text, str) for pair in request.env.items() for text in pair),
    )
    for field_name, value, kind in expected:
        _check_type(field_name, value, kind)


def _check_type(field_name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise invalid(field_name, value, f"{kind.__name__}, not {type(value).__name__}")


def _check_sizes(request: RunRequest) -> None:
    guests = request.limits.guests
    sizes = (
        ("code", _size("code", (request.code,)), "code_limit_bytes", "bytes"),
        ("stdin", len(request.stdin), "stdin_limit_bytes", "bytes"),
        ("args", len(request.args), "argument_count_max", "entries"),
        ("args", _size("args", request.args), "argument_limit_bytes", "bytes"),
        ("env", len(request.env), "environment_count_max", "entries"),
        (
            "env",
            _size("env", itertools.chain(*request.env.items())),
            "environment_limit_bytes",
            "bytes",
        ),
        ("filename", _size("filename", (request.filename,)), "path_limit_bytes", "bytes"),
        ("cwd", _size("cwd", (request.cwd,)), "path_limit_bytes", "bytes"),
    )
    for field_name, found, name, unit in sizes:
        _check_size(field_name, found, guests, name, unit)


def _check_size(field_name: str, found: int, guests: GuestsLimits, name: str, unit: str) -> None:
    limit: int = getattr(guests, name)
    if found > limit:
        raise InvalidRunError(
            f"{field_name} has {found} {unit}; guests.{name} allows at most {limit}",
            field=field_name,
            found=found,
            limit=f"guests.{name}",
            limit_value=limit,
        )


def _size(field_name: str, texts: Iterable[str]) -> int:
    try:
        return sum(len(text.encode()) for text in texts)
    except UnicodeEncodeError as error:
        raise invalid(field_name, error.object, "valid Unicode without lone surrogates") from None


def check_shapes(*, args: object, env: object, stdin: object, files: object = ()) -> None:
    """Refuse what would be taken apart in silence: the letters of one text as many arguments."""
    if type(files) is type(args) is list and type(env) is dict and type(stdin) is bytes:
        return
    shapes = (
        ("files", files, not isinstance(files, str | bytes), "a list of files"),
        ("args", args, not isinstance(args, str | bytes), "a list of texts"),
        ("env", env, env is None or hasattr(env, "items"), "a mapping of names to values"),
        ("stdin", stdin, isinstance(stdin, str | bytes), "text or bytes"),
    )
    for name, value, fits, allowed in shapes:
        if not fits:
            raise invalid(name, value, allowed)


def encoded(stdin: str) -> bytes:
    """Return a text as the bytes of a standard input."""
    try:
        return stdin.encode()
    except UnicodeEncodeError:
        raise invalid("stdin", stdin, "valid Unicode without lone surrogates, or bytes") from None


def invalid(field_name: str, value: object, allowed: str) -> InvalidRunError:
    """Return the error for a wrong value: the field, what was found, and what is allowed."""
    found = ascii(value)
    if len(found) > VALUE_LENGTH_MAX:
        found = found[:VALUE_LENGTH_MAX] + "…"
    return InvalidRunError(
        f"{field_name} is {found}; it must be {allowed}",
        field=field_name,
        found=found,
        allowed=allowed,
    )
