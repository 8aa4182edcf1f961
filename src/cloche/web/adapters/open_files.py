"""How many connections the process has files for, with some left for the application.

A connection is a file. Where connections may take all of them, clients that do nothing but connect
keep the application from opening its own: pages, databases, logs. So the ceiling of connections is
the smaller of the limit and what the process may open, less a reserve.
"""

from __future__ import annotations

import resource
from typing import Final

RESERVE: Final = 256  # files that are no connections: the application's, the loop's, the log
_RESERVE_PART: Final = 2  # of few files this part is kept


def connections_within(count_max: int) -> int:
    """Return how many connections the process may hold; 1 at least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return count_max
    return max(1, min(count_max, soft - min(RESERVE, soft // _RESERVE_PART)))


def allow_connections(count_max: int) -> int:
    """Let the process open files for so many connections, as far as the system lets it.

    The soft limit is raised, never lowered. Programs that the application starts inherit it.

    Returns:
        How many it may hold now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count_max + RESERVE
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return connections_within(count_max)
