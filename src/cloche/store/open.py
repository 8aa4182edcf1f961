"""Open a store by its URL.

A path or `sqlite:///PATH` is a SQLite file, `postgresql://…` a PostgreSQL database, `memory:` a
store that lasts as long as the process. Nothing given is the file of this user.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

from cloche.limits import Limits
from cloche.store.errors import StoreUrlError

if TYPE_CHECKING:
    from cloche.store.ports import Store

Durability = Literal["full", "normal"]

MEMORY_URL: Final = "memory:"
_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = ("postgresql://", "postgres://", "postgresql+psycopg://")


def open_store(
    url: str | Path | None = None, *, limits: Limits | None = None, durability: Durability = "full"
) -> Store:
    """Return the store at a URL, made and migrated as needed. Close it when it is done with.

    Args:
        url: see above. A path of a URL is percent-encoded, a plain path is not.
        limits: the group `store`, and the limit of a journal's entry.
        durability: "full": what returned survives the loss of power. "normal" is faster: it
            survives the end of the process, the newest may be missing after the loss of power.

    Raises:
        StoreUrlError: it names no store that can be opened here.
        StoreForeignError: there is something else; it is untouched.
        StoreVersionError: a newer cloche has written it; it is untouched.
        StoreError: what the database cannot do.
    """
    limits = limits or Limits()
    if durability not in ("full", "normal"):
        raise StoreUrlError(url=str(url), problem=f"durability {durability!r} is not known")
    if url == MEMORY_URL:
        from cloche.store.adapters.memory import MemoryStore  # noqa: PLC0415

        return MemoryStore(limits)
    if isinstance(url, str) and url.startswith(_POSTGRESQL):
        return _open_postgresql(url, limits, durability)
    return _open_sqlite(_sqlite_path(url), limits, durability)


def default_path() -> Path:
    """Return where this user's store is: `~/.local/share/cloche/cloche.db` on Linux."""
    from platformdirs import user_data_path  # noqa: PLC0415

    return user_data_path("cloche", appauthor=False) / "cloche.db"


def _sqlite_path(url: str | Path | None) -> Path:
    if url is None:
        return default_path()
    if isinstance(url, Path):
        return url
    if url.startswith(_SQLITE):
        path = unquote(url.removeprefix(_SQLITE))
        if "?" in path:
            raise StoreUrlError(url=url, problem="a SQLite URL takes no options")
    elif "://" in url or url.startswith("sqlite:"):
        raise StoreUrlError(url=_scheme_of(url), problem="its kind is not known")
    else:
        path = url
    if not path or "\0" in path:
        raise StoreUrlError(url=url, problem="it has no path")
    return Path(path).expanduser()


def _scheme_of(url: str) -> str:
    # What follows may hold a password.
    return url.partition(":")[0] + ":…"


def _open_sqlite(path: Path, limits: Limits, durability: Durability) -> Store:
    # Imported where it is needed: SQLAlchemy takes a tenth of a second.
    from cloche.store.adapters.sql.sqlite import open_sqlite  # noqa: PLC0415
    from cloche.store.adapters.sql.store import SqlStore  # noqa: PLC0415

    return SqlStore(open_sqlite(path, limits, durability))


def _open_postgresql(url: str, limits: Limits, durability: Durability) -> Store:
    from cloche.store.adapters.sql.postgresql import open_postgresql  # noqa: PLC0415
    from cloche.store.adapters.sql.store import SqlStore  # noqa: PLC0415

    return SqlStore(open_postgresql(url, limits, durability))
