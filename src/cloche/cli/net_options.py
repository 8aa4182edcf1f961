"""The options of runs that make calls: `--allow`, `--net` and `--secret`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from cloche.egress.allowlist import NetPolicy
    from cloche.gate.policy import Policy

Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", help="A host it may call: [METHOD ][https://]HOST[:PORT][/PATH]; repeatable."
    ),
]
Lists = Annotated[
    list[str] | None,
    typer.Option("--net", help="A list of `cloche net` that holds too: global; repeatable."),
]
SecretNames = Annotated[
    list[str] | None,
    typer.Option("--secret", help="A secret it may use, from `cloche secret`; repeatable."),
]


def policy_of(
    allow: list[str] | None, lists: list[str] | None, secrets: list[str] | None
) -> Policy | None:
    """Return the policy that the options say, None if they say nothing.

    Raises:
        NetPolicyError: an entry or a name is none. InvalidRunError: a secret is unknown, or there
            is no host that it could go to.
    """
    if not (allow or lists or secrets):
        return None
    from cloche.egress.allowlist import NetPolicy  # noqa: PLC0415 - only for runs with calls
    from cloche.egress.entry_text import entry_of_text  # noqa: PLC0415
    from cloche.gate.policy import Policy  # noqa: PLC0415

    net = NetPolicy(
        allow=[entry_of_text(text) for text in allow or ()],
        scopes=tuple(lists or ()),
        secrets=tuple(secrets or ()),
    )
    if net.secrets:
        if not (allow or lists):
            raise InvalidRunError("--secret needs --allow or --net: nothing can be called without")
        _check_secrets(net)
    return Policy(net=net)


def _check_secrets(net: NetPolicy) -> None:
    """Say before the run what would fail in it."""
    from cloche.cli.net import open_net  # noqa: PLC0415
    from cloche.egress.allowlist import GLOBAL_SCOPE  # noqa: PLC0415

    database = open_net(None)
    try:
        known = {row.name for row in database.secrets() if row.scope in (*net.scopes, GLOBAL_SCOPE)}
    finally:
        database.close()
    for name in net.secrets:
        if name not in known:
            raise InvalidRunError(
                f"there is no secret {name}: `cloche secret set {name} --domain HOST` makes it",
                secret=name,
            )
