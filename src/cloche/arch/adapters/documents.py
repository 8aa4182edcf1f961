"""Read, validate and write the JSON documents of a contract.

A document is judged by the schema that ships with the checker, so a copy in a project cannot make
the contract weaker. A write replaces the file in one step: a reader sees the old or the new one.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from cloche.arch.documents import DOCUMENT_NAMES, DOCUMENT_PATHS
from cloche.arch.errors import (
    DocumentInvalidError,
    ProjectInvalidError,
    ToolBudgetExceededError,
)
from cloche.arch.starter import TEMPLATE_NAMES


def read_limited(path: Path, *, shown: str, limit_bytes: int) -> bytes:
    """Return a file's bytes.

    Raises:
        ToolBudgetExceededError: the file is larger than the limit; at most one byte more is read.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        size = max(len(content), path.stat().st_size)
        raise ToolBudgetExceededError(
            limit="document_limit_bytes", limit_value=limit_bytes, found=size, subject=shown
        )
    return content


def read_json(path: Path, *, shown: str, limit_bytes: int) -> Any:
    """Return the value of a JSON file; keys that stand twice and NaN are refused.

    Raises:
        DocumentInvalidError: unreadable, not UTF-8, or no JSON.
        ToolBudgetExceededError: the file is too large.
    """
    try:
        text = read_limited(path, shown=shown, limit_bytes=limit_bytes).decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique_object, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DocumentInvalidError(document=shown, pointer="", reason=reason) from error


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def load_contract(root: Path, *, limit_bytes: int) -> dict[str, Any]:
    """Return the four documents of a project, keyed by name, valid by their schemas.

    Raises:
        ProjectInvalidError: there is no contract at all.
        DocumentInvalidError: a document is missing, unreadable or invalid.
    """
    if not (root / "arch").is_dir():
        raise ProjectInvalidError(
            path=str(root),
            reason="there is no arch/ directory",
            advice="Run `cloche arch init` there to write a contract",
        )
    documents: dict[str, Any] = {}
    for name in DOCUMENT_NAMES:
        path = DOCUMENT_PATHS[name]
        documents[name] = read_json(root / path, shown=path, limit_bytes=limit_bytes)
        validate_document(name, documents[name])
    return documents


def validate_document(name: str, document: Any) -> None:
    """Hold a document against its schema.

    Raises:
        DocumentInvalidError: it does not fit; the first place is named, the others are counted.
    """
    problems = sorted(
        _validator(name).iter_errors(document),
        key=lambda error: ([str(part) for part in error.absolute_path], error.message),
    )
    if problems:
        first = problems[0]
        pointer = "".join(f"/{part}" for part in first.absolute_path)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DocumentInvalidError(
            document=DOCUMENT_PATHS[name], pointer=pointer, reason=f"{first.message}{more}"
        )


@functools.cache
def _validator(name: str) -> Any:
    # Imported here because it is slow to import, and a caller may only want to patch.
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415

    return Draft202012Validator(packaged_schemas()[schema_path(name)])


def schema_path(name: str) -> str:
    """Return where a project keeps its copy of a schema."""
    return f"schemas/arch.{name}.schema.json"


@functools.cache
def packaged_schemas() -> dict[str, Any]:
    """Return the schemas that judge, keyed by the path of their copy in a project."""
    folder = resources.files("cloche.arch") / "schemas"
    return {
        schema_path(name): json.loads((folder / f"arch.{name}.schema.json").read_bytes())
        for name in DOCUMENT_NAMES
    }


def read_templates() -> dict[str, str]:
    """Return the text files of a starter contract, keyed by their path in a project."""
    folder = resources.files("cloche.arch") / "templates"
    return {
        path: (folder / name).read_text(encoding="utf-8") for path, name in TEMPLATE_NAMES.items()
    }


def read_schema_copies(root: Path, *, limit_bytes: int) -> dict[str, Any]:
    """Return a project's copies of the schemas; one that is missing or no JSON is left out."""
    copies: dict[str, Any] = {}
    for path in packaged_schemas():
        try:
            copies[path] = read_json(root / path, shown=path, limit_bytes=limit_bytes)
        except DocumentInvalidError:
            continue  # Left out: the rule on schemas reports it as missing.
    return copies


def to_document_text(document: Any) -> str:
    """Return a document as it is kept in a repository: its own key order, two spaces."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step, making its directories. A failure leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode_of(path))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """Keep the mode of a file that is there; a new one gets what the umask leaves of 0666."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        umask = os.umask(0o077)
        os.umask(umask)
        return 0o666 & ~umask
