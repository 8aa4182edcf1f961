"""The types of `golem:exec@1.0.0` as frozen data.

Names, cases and fields are those of `wit/golem-exec.wit` (seed 004, section 6) with underscores for
dashes; a test compares them. Pure. What a failure is as a Python exception stands in `errors.py`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum

from cloche.exec.errors import ExecError, InvalidFileError, InvalidRunError


class LanguageKind(Enum):
    """A language that can be run."""

    JAVASCRIPT = "javascript"
    PYTHON = "python"


class Encoding(Enum):
    """How the content of a `File` is written down."""

    UTF8 = "utf8"
    BASE64 = "base64"
    HEX = "hex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language; `version` is accepted and ignored, each kind has one (seed 004, section 5)."""

    kind: LanguageKind
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a program finds.

    Args:
        name: path below the root; folders are made.
        content: bytes, written down in `encoding`.
        encoding: None for the bytes as they are.

    Raises:
        InvalidRunError: a field of the wrong type.
    """

    name: str
    content: bytes
    encoding: Encoding | None = None

    def __post_init__(self) -> None:
        # "hex" instead of Encoding.HEX would else be taken for no encoding, in silence.
        for name, kind in (("name", str), ("content", bytes), ("encoding", Encoding)):
            value = getattr(self, name)
            if not isinstance(value, kind) and not (name == "encoding" and value is None):
                raise InvalidRunError(
                    f"a file's {name} is of {type(value).__name__}; it must be {kind.__name__}",
                    field=f"files.{name}",
                    found=type(value).__name__,
                    allowed=kind.__name__,
                )

    def data(self) -> bytes:
        """Return the bytes that the program will read.

        Raises:
            InvalidFileError: the content is not what the encoding says.
        """
        try:
            if self.encoding is Encoding.BASE64:
                return base64.b64decode(self.content, validate=True)
            if self.encoding is Encoding.HEX:
                return bytes.fromhex(self.content.decode("ascii"))
            if self.encoding is Encoding.UTF8:
                self.content.decode("utf-8")
        except (binascii.Error, ValueError) as error:
            assert self.encoding is not None
            raise InvalidFileError(
                name=self.name, encoding=self.encoding.value, reason=str(error)
            ) from None
        return self.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Ceilings of one run; None means the configured one.

    Args:
        time_ms: wall time.
        memory_bytes: the guest's memory.
        file_size_bytes: size of one file.
        max_processes: accepted, without meaning: guests have no processes.
    """

    time_ms: int | None = None
    memory_bytes: int | None = None
    file_size_bytes: int | None = None
    max_processes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What one stage (compile or run) printed, and how it ended.

    Args:
        stdout: decoded as UTF-8, what does not decode replaced.
        stderr: the same.
        exit_code: None when the stage was stopped by the host.
        signal: then "SIGKILL".
    """

    stdout: str
    stderr: str
    exit_code: int | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """The outcome of a run.

    Args:
        compile: the compile stage, if it said anything.
        run: the run stage.
        time_ms: wall time in the guest.
        memory_bytes: peak of the guest's memory.
    """

    compile: StageResult | None
    run: StageResult
    time_ms: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StdoutChunk:
    """A piece of standard output, as soon as it is written."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StderrChunk:
    """A piece of standard error output."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last event of a run that ended by itself."""

    result: ExecResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The last event of a run that failed; `error` holds the output so far."""

    error: ExecError


ExecEvent = StdoutChunk | StderrChunk | Finished | Failed
