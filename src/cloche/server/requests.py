"""From what a request brings to what is executed, and from what ended to what is answered.

Pure. Invariants: nothing that a request asks for is more than the server's limits and effects; what
is wrong with a request is said before anything is kept.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from cloche.egress.allowlist import TENANT_PREFIX, NetPolicy, scope_in
from cloche.exec.types import Encoding, File, Limits
from cloche.gate.policy import NET_KIND, Policy
from cloche.server.documents import (
    ErrorBody,
    KeptResult,
    RunDocument,
    StageDocument,
)
from cloche.server.errors import ForeignListError, InvalidFieldError, PolicyRefusedError
from cloche.server.keys import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.errors import ClocheError
    from cloche.exec.types import StageResult
    from cloche.limits import Limits as AllLimits
    from cloche.server.documents import FileBody, FileEncoding, LimitsBody, RunBody, SessionRunBody
    from cloche.store.rows import Run

NS_PER_MS: Final = 1_000_000
# Durable effects touch nothing but the session's own store.
EFFECTS: Final = frozenset({"durable"})
NET_EFFECTS: Final = frozenset({"net", NET_KIND})


def policy_of(
    document: dict[str, Any] | None, effects: frozenset[str], tenant: str
) -> Policy | None:
    """Return the policy that a request brings; None where it brings none.

    The lists and secrets that it names are those of the tenant.

    Raises:
        PolicyRefusedError: it names effects that are none of these.
        ForeignListError: it names lists of another tenant.
        PolicyInvalidError, NetPolicyError: it is no policy.
    """
    if document is None:
        return None
    refused = sorted(document.keys() - effects)
    if refused:
        raise PolicyRefusedError(kinds=refused, known=sorted(effects))
    policy = Policy.from_document(document)
    if policy.net is None:
        return policy
    net, own = NetPolicy.from_document(policy.net), net_tenant(tenant)
    foreign = [scope for scope in net.scopes if scope.startswith(TENANT_PREFIX)]
    if foreign or net.tenant not in ("", own):
        raise ForeignListError(names=foreign or [scope_in(net.tenant, "")])
    # A policy of the first tenant stays the bytes that were sent.
    return replace(policy, net={**policy.net, "tenant": own}) if own else policy


def net_tenant(tenant: str) -> str:
    """Return what the egress calls a tenant: the first one has the lists of the store itself."""
    return "" if tenant == DEFAULT_TENANT else tenant


def limits_of(body: LimitsBody | None, limits: AllLimits) -> Limits | None:
    """Return the ceilings that a request asks for.

    Raises:
        InvalidFieldError: more than this server gives to one run.
    """
    if body is None:
        return None
    server = limits.server
    for field, value, most in (
        ("time_ms", body.time_ms, server.run_timeout_ms_max),
        ("memory_bytes", body.memory_bytes, server.run_memory_limit_bytes_max),
    ):
        if value is not None and value > most:
            raise InvalidFieldError(field=f"limits.{field}", problem=f"is {value}, above {most}")
    return Limits(
        time_ms=body.time_ms,
        memory_bytes=body.memory_bytes,
        file_size_bytes=body.file_size_bytes,
        max_processes=body.max_processes,
    )


def all_limits_of(body: LimitsBody | None, limits: AllLimits) -> AllLimits:
    """Return the limits of a run of its own: those of the server, but for what is asked for.

    Raises:
        InvalidFieldError: more than this server gives to one run.
        LimitError: a value that no run can have.
    """
    asked = limits_of(body, limits)
    if asked is None:
        return limits
    named = {
        "timeout_ms": asked.time_ms,
        "memory_limit_bytes": asked.memory_bytes,
        "file_limit_bytes": asked.file_size_bytes,
    }
    guests = {name: value for name, value in named.items() if value is not None}
    return limits.replace({"guests": guests})


def bytes_of(field: str, text: str, encoding: FileEncoding) -> bytes:
    """Return the bytes that a text stands for.

    Raises:
        InvalidFieldError: it is not in this encoding.
    """
    try:
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        if encoding == "hex":
            return bytes.fromhex(text)
        return text.encode()
    except (binascii.Error, ValueError):
        raise InvalidFieldError(field=field, problem=f"is no {encoding}") from None


def files_of(bodies: Iterable[FileBody]) -> list[File]:
    """Return the files that a request brings.

    Raises:
        InvalidFieldError: content that is not in its encoding.
    """
    encodings = {"base64": Encoding.BASE64, "hex": Encoding.HEX}
    return [
        File(
            name=body.name,
            content=bytes_of("files.content", body.content, "utf8"),
            encoding=encodings.get(body.encoding),
        )
        for body in bodies
    ]


def alone_options(
    body: RunBody, limits: AllLimits, effects: frozenset[str], tenant: str
) -> dict[str, Any]:
    """Return the options of `exec.api.make_request` for a run of its own.

    Raises:
        InvalidFieldError, PolicyRefusedError, ForeignListError, PolicyInvalidError: it asks for
            what cannot be.
    """
    return {
        "language": body.language,
        "filename": body.filename,
        "files": files_of(body.files),
        "args": body.args,
        "env": body.env,
        "stdin": bytes_of("stdin", body.stdin, body.stdin_encoding),
        "limits": all_limits_of(body.limits, limits),
        "policy": policy_of(body.policy, effects, tenant),
        "seed": body.seed,
        "now_ns": body.now_ns,
        "image": body.image,
        "cwd": body.cwd,
    }


def session_options(
    body: SessionRunBody, limits: AllLimits, effects: frozenset[str], tenant: str
) -> dict[str, Any]:
    """Return the options of `exec.session.Session.execute` for a run in a session.

    Raises:
        InvalidFieldError, PolicyRefusedError, ForeignListError, PolicyInvalidError: it asks for
            what cannot be.
    """
    if (body.code is None) == (body.entrypoint is None):
        raise InvalidFieldError(field="code", problem="give either code or entrypoint, not both")
    options: dict[str, Any] = {
        "args": body.args,
        "env": body.env,
        "stdin": bytes_of("stdin", body.stdin, body.stdin_encoding),
        "limits": limits_of(body.limits, limits),
        "policy": policy_of(body.policy, effects, tenant),
    }
    if body.filename:
        options["filename"] = body.filename
    return options


def stage_document(stage: StageResult | None) -> StageDocument | None:
    """Return what one stage printed, as it is answered."""
    if stage is None:
        return None
    return StageDocument(
        stdout=stage.stdout, stderr=stage.stderr, exit_code=stage.exit_code, signal=stage.signal
    )


def error_body(error: ClocheError) -> ErrorBody:
    """Return an error as it is kept and answered."""
    return ErrorBody(**error.to_document())


def run_document(row: Run, *, status: str | None = None, brief: bool = False) -> RunDocument:
    """Return a run as it is answered.

    Args:
        row: as it is kept.
        status: what it is now, where that is newer than the row.
        brief: without what it printed, as in lists.
    """
    result = msgspec.json.decode(row.result, type=KeptResult)
    return RunDocument(
        id=row.id,
        session_id=row.session_id,
        language=row.language,
        status=status or row.status,  # type: ignore[arg-type]
        created_ms=row.created_ns // NS_PER_MS,
        ended_ms=None if row.ended_ns is None else row.ended_ns // NS_PER_MS,
        exit_code=result.exit_code,
        stdout="" if brief else result.stdout,
        stderr="" if brief else result.stderr,
        signal=result.signal,
        compile=None if brief else result.compile,
        time_ms=result.time_ms,
        memory_bytes=result.memory_bytes,
        journal_hash=result.journal_hash,
        error=result.error,
    )
