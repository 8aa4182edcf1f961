"""Whose a session or a run is.

Owns which tenant an id belongs to, and the names of sessions, which are unique within a tenant. All
of it is kept as documents of the store. Invariants:
- an id of another tenant is as unknown as one that does not exist;
- what is listed exists, or did: whoever lists skips what is gone;
- a name leads to at most one session.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.server.documents import KeptScript
from cloche.server.errors import NameTakenError, QuotaError, StateError, UnknownObjectError
from cloche.store.errors import StoreChangedError
from cloche.store.rows import TIME_NS_MAX, Document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.server.pages import PageRequest
    from cloche.server.tenants import Tenants
    from cloche.store.ports import Store
    from cloche.store.rows import Run, Session

_SESSIONS: Final = "server.sessions."
_NAMES: Final = "server.session-names."
_RUNS: Final = "server.runs."
_SCRIPTS: Final = "server.scripts."
_SCRIPT_TIMES: Final = "server.script-times."
_LEFT_SCRIPTS: Final = "server.scripts-left"
_TIME_DIGITS: Final = 19
_NS_PER_MS: Final = 1_000_000
_PAGE: Final = 1000


class _Owned(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a session's owner: its name, if it has one."""

    name: str | None = None


class Owners:
    """The objects of every tenant in one store."""

    def __init__(self, store: Store, tenants: Tenants) -> None:
        self._documents = store.documents
        self._store = store
        self._tenants = tenants

    # --- sessions ---

    def check_room(self, tenant: str) -> None:
        """Raise when a tenant may have no more sessions.

        Raises:
            QuotaError: it has as many as it may.
        """
        most, count = self._tenants.limits(tenant).session_count_max, self.count_sessions(tenant)
        if count >= most:
            raise QuotaError(what="sessions", limit="server.session_count_max", count=count)

    def count_sessions(self, tenant: str) -> int:
        """Return how many sessions a tenant has."""
        count, after = 0, ""
        while page := self._documents.list(_SESSIONS + tenant, after=after, limit=_PAGE):
            count, after = count + len(page), page[-1].name
        return count

    def take_name(self, tenant: str, name: str, session_id: str) -> None:
        """Let a name lead to a session.

        Raises:
            NameTakenError: it leads to another one.
        """
        data = msgspec.json.encode(session_id)
        try:
            self._documents.put(Document(kind=_NAMES + tenant, name=name, data=data))
        except StoreChangedError:
            raise NameTakenError(kind="session", name=name) from None

    def add_session(self, tenant: str, session_id: str, name: str | None) -> None:
        """Say that a session is a tenant's. Its name was taken before."""
        data = msgspec.json.encode(_Owned(name=name))
        self._documents.put(Document(kind=_SESSIONS + tenant, name=session_id, data=data))

    def remove_session(self, tenant: str, session_id: str, name: str | None) -> None:
        """Forget a session, and its name with it."""
        self._documents.remove(_SESSIONS + tenant, session_id)
        if name is not None:
            self._documents.remove(_NAMES + tenant, name)

    def session(self, tenant: str, id_or_name: str) -> tuple[Session, str | None]:
        """Return a session of a tenant, and its name.

        Raises:
            UnknownObjectError: the tenant has none of this id or name.
        """
        if _is_id(id_or_name):
            kept = self._documents.get(_SESSIONS + tenant, id_or_name)
            if kept is None and (named := self._documents.get(_NAMES + tenant, id_or_name)):
                session_id = msgspec.json.decode(named.data, type=str)
                kept = self._documents.get(_SESSIONS + tenant, session_id)
            row = None if kept is None else self._store.sessions.get(kept.name)
            if kept is not None and row is not None:
                return row, msgspec.json.decode(kept.data, type=_Owned).name
        raise UnknownObjectError(kind="session", id=id_or_name)

    def sessions(self, tenant: str, wanted: PageRequest) -> list[tuple[Session, str | None]]:
        """Return sessions in the order of their ids, one more than wanted where there are more."""
        found: list[tuple[Session, str | None]] = []
        after = wanted.after
        while len(found) <= wanted.limit:
            page = self._documents.list(_SESSIONS + tenant, after=after, limit=wanted.limit + 1)
            if not page:
                break
            after = page[-1].name
            for kept in page:
                row = self._store.sessions.get(kept.name)
                if row is not None:
                    found.append((row, msgspec.json.decode(kept.data, type=_Owned).name))
        return found[: wanted.limit + 1]

    # --- runs ---

    def run(self, tenant: str, run_id: str) -> Run:
        """Return a run of a tenant.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        row = self._store.runs.get(run_id) if _is_id(run_id) else None
        if row is None or not self._is_own(tenant, row):
            raise UnknownObjectError(kind="run", id=run_id)
        return row

    def _is_own(self, tenant: str, row: Run) -> bool:
        if self._documents.get(_RUNS + tenant, _run_name(row.id, row.created_ns)) is not None:
            return True
        # Runs of a fork's or an import's past were nobody's request.
        return (
            row.session_id is not None
            and self._documents.get(_SESSIONS + tenant, row.session_id) is not None
        )

    def promised(self, tenant: str, promise_id: str) -> Run:
        """Return the run of a tenant that made a promise.

        Raises:
            UnknownObjectError: no run of the tenant has made one of this id.
        """
        promise = self._store.promises.get(promise_id) if _is_id(promise_id) else None
        row = None if promise is None else self._store.runs.get(promise.run_id or "")
        if row is None or not self._is_own(tenant, row):
            raise UnknownObjectError(kind="promise", id=promise_id)
        return row

    def runs(self, tenant: str, wanted: PageRequest) -> list[Run]:
        """Return runs, newest first, one more than wanted where there are more.

        Raises:
            UnknownObjectError: the page begins behind a run that the tenant has not.
        """
        after = ""
        if wanted.after:
            row = self.run(tenant, wanted.after)
            after = _run_name(row.id, row.created_ns)
        found: list[Run] = []
        while len(found) <= wanted.limit:
            page = self._documents.list(_RUNS + tenant, after=after, limit=wanted.limit + 1)
            if not page:
                break
            after = page[-1].name
            rows = (self._store.runs.get(kept.name[_TIME_DIGITS + 1 :]) for kept in page)
            found += [row for row in rows if row is not None]
        return found[: wanted.limit + 1]

    def runs_of(self, session_id: str, wanted: PageRequest) -> Sequence[Run]:
        """Return the runs of a session, newest first; whose it is was checked before."""
        return self._store.runs.list(
            session_id=session_id, after=wanted.after, limit=wanted.limit + 1
        )

    # --- scripts ---

    def add_script(self, tenant: str, run_id: str, kept: KeptScript) -> None:
        """Say that the run of a script is a tenant's.

        Raises:
            StateError: there is one of this id; it was begun before.
        """
        data = msgspec.json.encode(kept)
        place = _script_name(run_id, kept)
        try:
            # First where it is in the list: who lists skips what is not there.
            self._documents.put(Document(kind=_SCRIPT_TIMES + tenant, name=place, data=b"{}"))
            self._documents.put(Document(kind=_SCRIPTS + tenant, name=run_id, data=data))
        except StoreChangedError:
            known = self.script(tenant, run_id)
            if known is None or _script_name(run_id, known) != place:
                self._documents.remove(_SCRIPT_TIMES + tenant, place)
            raise StateError(
                kind="script", id=run_id, state="there", problem="it was begun before; look at it"
            ) from None

    def script(self, tenant: str, run_id: str) -> KeptScript | None:
        """Return what is kept of a tenant's script, None when the tenant has none of this id."""
        kept = self._documents.get(_SCRIPTS + tenant, run_id) if _is_id(run_id) else None
        return None if kept is None else msgspec.json.decode(kept.data, type=KeptScript)

    def keep_result(self, tenant: str, run_id: str, result: dict[str, Any]) -> None:
        """Keep what became of a script of which nothing ran."""
        kept = self._documents.get(_SCRIPTS + tenant, run_id)
        if kept is not None:
            script = msgspec.json.decode(kept.data, type=KeptScript)
            data = msgspec.json.encode(msgspec.structs.replace(script, result=result))
            self._documents.put(replace(kept, data=data, revision=kept.revision + 1))

    def remove_script(self, tenant: str, run_id: str) -> None:
        """Forget a script that was refused."""
        kept = self.script(tenant, run_id)
        self._documents.remove(_SCRIPTS + tenant, run_id)
        if kept is not None:
            self._documents.remove(_SCRIPT_TIMES + tenant, _script_name(run_id, kept))
        self.settle_script(run_id)

    def scripts(self, tenant: str, wanted: PageRequest) -> list[tuple[str, KeptScript]]:
        """Return scripts, newest first, one more than wanted where there are more.

        Raises:
            UnknownObjectError: the page begins behind a script that the tenant has not.
        """
        after = ""
        if wanted.after:
            kept = self.script(tenant, wanted.after)
            if kept is None:
                raise UnknownObjectError(kind="script", id=wanted.after)
            after = _script_name(wanted.after, kept)
        found: list[tuple[str, KeptScript]] = []
        while len(found) <= wanted.limit:
            page = self._documents.list(_SCRIPT_TIMES + tenant, after=after, limit=wanted.limit + 1)
            if not page:
                break
            after = page[-1].name
            for one in page:
                run_id = one.name[_TIME_DIGITS + 1 :]
                kept = self.script(tenant, run_id)
                if kept is not None and _script_name(run_id, kept) == one.name:
                    found.append((run_id, kept))
        return found[: wanted.limit + 1]

    def leave_script(self, tenant: str, run_id: str) -> None:
        """Say that a script was acknowledged, and begins when its turn comes."""
        data = msgspec.json.encode(tenant)
        self._documents.put(Document(kind=_LEFT_SCRIPTS, name=run_id, data=data))

    def settle_script(self, run_id: str) -> None:
        """Say that a script that was left is over, or waits for a person."""
        self._documents.remove(_LEFT_SCRIPTS, run_id)

    def left_scripts(self) -> list[tuple[str, str]]:
        """Return what was left and did not come to an end: tenant and id."""
        found: list[tuple[str, str]] = []
        while page := self._documents.list(
            _LEFT_SCRIPTS, after=found[-1][1] if found else "", limit=_PAGE
        ):
            found += [(msgspec.json.decode(one.data, type=str), one.name) for one in page]
        return found


def run_owner(tenant: str, run: Run) -> Document:
    """Return what says that a run is a tenant's; it is kept together with the run."""
    return Document(kind=_RUNS + tenant, name=_run_name(run.id, run.created_ns), data=b"{}")


def _run_name(run_id: str, created_ns: int) -> str:
    """Return a name that sorts the newest first."""
    return f"{TIME_NS_MAX - created_ns:0{_TIME_DIGITS}d}.{run_id}"


def _script_name(run_id: str, kept: KeptScript) -> str:
    return _run_name(run_id, kept.created_ms * _NS_PER_MS)


def _is_id(text: str) -> bool:
    # What no object can have as an id or name is unknown, not an error of the store.
    return bool(text) and text.isprintable() and len(text.encode("utf-8", "replace")) <= 200  # noqa: PLR2004
