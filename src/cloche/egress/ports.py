"""What outbound HTTP needs from the world, as protocols.

It implements nothing: adapters do, and tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from cloche.egress.allowlist import GLOBAL_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.egress.addresses import Blocked
    from cloche.egress.allowlist import RuleSet
    from cloche.egress.cache import Stats
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

    def secret(self, name: str, scopes: Sequence[str] = (GLOBAL_SCOPE,)) -> Secret | None:
        """Return a secret as it is now, None where there is none.

        Args:
            name: of the secret.
            scopes: where it is looked for, in this order.
        """

    def used(self, secret: Secret) -> None:
        """Remember that a secret was sent just now."""


class LogSink(Protocol):
    """Keeps records."""

    def store(self, records: Sequence[Record], dropped: int) -> None:
        """Keep records, and that some are missing.

        Raises:
            NetStoreError: nothing was kept.
        """


class CacheBook(Protocol):
    """Lets other processes see and clear the cache of this one."""

    def clearings(self) -> int:
        """Return how often all caches were cleared; when it grows, they are to be."""

    def keep_stats(self, process: str, stats: Stats | None) -> None:
        """Remember what the cache of a process holds; None when the process ends.

        Raises:
            NetStoreError: nothing was kept.
        """
