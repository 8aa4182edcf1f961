"""The request of a run in a session: from its settings, its state and what the caller gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cloche.exec.adapters.durable import DURABLE_KIND
from cloche.exec.errors import InvalidRunError
from cloche.exec.request import RunRequest, check_shapes, encoded, language_of_file
from cloche.gate.policy import Policy
from cloche.limits import Limits
from cloche.limits.adapters.settings import load_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.exec.adapters.session_machine import SessionMachine
    from cloche.exec.session_log import Head, SessionSettings
    from cloche.exec.types import Limits as RunLimits

RUN_OPTIONS: Final = frozenset({"args", "env", "stdin", "limits", "policy", "filename"})


def session_request(
    settings: SessionSettings,
    head: Head,
    code: str,
    *,
    limits: Limits,
    tools: Sequence[str],
    seed: int,
    now_ns: int,
    options: Mapping[str, Any],
) -> RunRequest:
    """Return the request of one run.

    Args:
        settings: of the session.
        head: the state that it starts from.
        code: the program.
        limits: in force.
        tools: names of the tools that the caller brings.
        seed: of this run.
        now_ns: start of its clock.
        options: of `RUN_OPTIONS`.

    Raises:
        InvalidRunError, LimitError: an option is wrong.
    """
    filename = options.get("filename", "")
    args, env, stdin = options.get("args", ()), options.get("env"), options.get("stdin", b"")
    check_shapes(args=args, env=env, stdin=stdin)
    given = options.get("limits")
    if not isinstance(given, Limits):
        given = limits.replace(_merged(settings.limits, limit_overrides(given)))
    return RunRequest(
        language=(language_of_file(filename) if filename else None) or settings.language,
        code=code,
        filename=filename,
        args=tuple(args),
        env=dict(env or {}),
        stdin=encoded(stdin) if isinstance(stdin, str) else stdin,
        cwd=head.cwd,
        seed=seed,
        now_ns=now_ns,
        image=settings.image,
        limits=given,
        policy=_policy(settings, options.get("policy"), tools),
        state=head.state,
    )


def _policy(settings: SessionSettings, given: Policy | None, tools: Sequence[str]) -> Policy:
    policy = given
    if policy is None and settings.policy:
        policy = Policy.from_document(json.loads(settings.policy))
    if policy is None:
        policy = Policy.allow(tool=tools) if tools else Policy()
    # Durable effects touch nothing but the session's own store.
    return policy.and_allow(**{DURABLE_KIND: ["*"]})


def program_in(machine: SessionMachine, path: str) -> str:
    """Return the program in a file of a session.

    Raises:
        FileAccessError: there is no such file. InvalidRunError: it is not UTF-8.
    """
    try:
        return machine.download(path).decode()
    except UnicodeDecodeError:
        raise InvalidRunError(f"the entrypoint {path} is not UTF-8") from None


def limit_overrides(limits: Limits | RunLimits | None) -> dict[str, dict[str, int]]:
    """Return what differs from the limits in force, as overrides for `Limits.replace`."""
    if limits is None:
        return {}
    if isinstance(limits, Limits):
        given, base = limits.to_dict(), load_limits().to_dict()
        return {
            group: changed
            for group in ("guests", "gate")
            if (changed := {k: v for k, v in given[group].items() if v != base[group][k]})
        }
    named = {
        "timeout_ms": limits.time_ms,
        "memory_limit_bytes": limits.memory_bytes,
        "file_limit_bytes": limits.file_size_bytes,
    }
    guests = {name: value for name, value in named.items() if value is not None}
    return {"guests": guests} if guests else {}


def _merged(
    first: Mapping[str, Mapping[str, int]], second: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    groups = {*first, *second}
    return {group: {**first.get(group, {}), **second.get(group, {})} for group in sorted(groups)}
