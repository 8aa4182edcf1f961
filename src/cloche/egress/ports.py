"""What outbound HTTP needs from the world, as protocols.

It implements nothing: adapters do, and tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.egress.addresses import Blocked
    from cloche.egress.allowlist import RuleSet
    from cloche.egress.log import Record
    from cloche.egress.secrets import Secret
    from cloche.egress.url import Address

AddressCheck: TypeAlias = "Callable[[Address], Blocked | None]"


class Resolver(Protocol):
    """Finds the addresses of a name."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return all addresses, the best first.

        Raises:
            OSError: there are none, or nobody could be asked.
        """


class EntryBook(Protocol):
    """Lists of entries by scope, which may change while runs go on."""

    def rules(self, scope: str) -> RuleSet:
        """Return the list of a scope as it is now; an unknown scope has an empty one."""


class SecretBook(Protocol):
    """Secrets by name."""

    def secret(self, name: str) -> Secret | None:
        """Return a secret as it is now, None where there is none."""

    def used(self, name: str) -> None:
        """Remember that a secret was sent just now."""


class LogSink(Protocol):
    """Keeps records."""

    def store(self, records: Sequence[Record], dropped: int) -> None:
        """Keep records, and that some are missing.

        Raises:
            NetStoreError: nothing was kept.
        """
