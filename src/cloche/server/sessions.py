"""The sessions of tenants: every call checks whose a session is, then does what `Session` does.

All calls block; the routes give them to a thread. Invariants:
- names are the tenant's: the store knows the session by its id alone;
- a session that could not be given its name, or its files, does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.egress.allowlist import GLOBAL_SCOPE
from cloche.exec.errors import InvalidRunError
from cloche.exec.session import Session, sessions_of
from cloche.exec.session_log import Ran, Remove, Upload, normal_path
from cloche.server.documents import FileDocument, SessionDocument, StepDocument
from cloche.server.errors import ForeignListError, InvalidFieldError
from cloche.server.requests import files_of, limits_of, policy_of
from cloche.store.rows import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cloche.exec.session_log import Step
    from cloche.limits import Limits
    from cloche.server.documents import SessionBody
    from cloche.server.owners import Owners
    from cloche.server.pages import PageRequest
    from cloche.server.stored import Stored
    from cloche.store.ports import Store
    from cloche.store.rows import Session as SessionRow

NS_PER_MS: Final = 1_000_000
_ID_PREFIX: Final = "ses-"


class TenantSessions:
    """The sessions of all tenants in one store.

    Args:
        store: where they are kept.
        limits: in force.
        owners: whose a session is.
        stored: whether a tenant may store more.
        effects: kinds that a policy may name.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        owners: Owners,
        stored: Stored,
        effects: frozenset[str],
    ) -> None:
        self._store = store
        self._limits = limits
        self._owners = owners
        self._stored = stored
        self._effects = effects

    def create(self, tenant: str, body: SessionBody) -> SessionDocument:
        """Create a session.

        Raises:
            NameTakenError, QuotaError, InvalidFieldError, PolicyRefusedError,
                UnsupportedLanguageError, InvalidRunError, FileAccessError: nothing was created.
        """
        options: dict[str, Any] = {
            "limits": limits_of(body.limits, self._limits),
            "policy": policy_of(body.policy, self._effects, tenant),
            "modules": files_of(body.modules),
            "image": body.image,
            "seed": body.seed,
            "now_ns": body.now_ns,
        }
        return self._add(
            tenant,
            body.name,
            lambda: Session.create(body.language, store=self._store, **options),
        )

    def _add(self, tenant: str, name: str | None, make: Callable[[], Session]) -> SessionDocument:
        """Make a session, and give it to a tenant under a name."""
        _check_name(name)
        self._owners.check_room(tenant)
        self._stored.check_room(tenant)
        session = make()
        try:
            if name is not None:
                self._owners.take_name(tenant, name, session.id)
            self._owners.add_session(tenant, session.id, name)
        except BaseException:
            session.delete()
            raise
        return self.get(tenant, session.id)

    def row(self, tenant: str, id_or_name: str) -> SessionRow:
        """Return a session as it is kept.

        Raises:
            UnknownObjectError: the tenant has none; as everywhere below.
        """
        return self._owners.session(tenant, id_or_name)[0]

    def get(self, tenant: str, id_or_name: str) -> SessionDocument:
        """Return a session."""
        return _document(*self._owners.session(tenant, id_or_name))

    def page(self, tenant: str, wanted: PageRequest) -> list[SessionDocument]:
        """Return sessions by id, one more than wanted where there are more."""
        return [_document(row, name) for row, name in self._owners.sessions(tenant, wanted)]

    def count(self, tenant: str) -> int:
        """Return how many sessions a tenant has."""
        return self._owners.count_sessions(tenant)

    def handle(self, tenant: str, id_or_name: str) -> Session:
        """Return a handle of a session."""
        return Session(sessions_of(self._store), self.row(tenant, id_or_name))

    def delete(self, tenant: str, id_or_name: str) -> None:
        """Remove a session for ever.

        Raises:
            SessionBusyError: a run is going on in it.
        """
        row, name = self._owners.session(tenant, id_or_name)
        Session(sessions_of(self._store), row).delete()
        self._owners.remove_session(tenant, row.id, name)

    # --- files ---

    def files(
        self, tenant: str, id_or_name: str, path: str, *, recursive: bool
    ) -> list[FileDocument]:
        """Return what is in a directory, sorted by path."""
        found = self.handle(tenant, id_or_name).list_files(path, recursive=recursive)
        return [
            FileDocument(
                path=entry.path,
                kind=entry.kind,
                size_bytes=entry.size_bytes,
                read_only=entry.read_only,
            )
            for entry in found
        ]

    def put_files(
        self, tenant: str, id_or_name: str, files: Iterable[tuple[str, bytes]], *, read_only: bool
    ) -> list[FileDocument]:
        """Put files in place, one after the other; return them.

        Raises:
            FileAccessError: one cannot be put; those before it are in place.
            QuotaError: the tenant has stored as much as it may.
        """
        self._stored.check_room(tenant)
        session = self.handle(tenant, id_or_name)
        cwd = session.working_dir
        put = []
        for path, content in files:
            _check_path(path)
            session.write_file(path, content, read_only=read_only)
            put.append(
                FileDocument(
                    path=normal_path(path, cwd),
                    kind="file",
                    size_bytes=len(content),
                    read_only=read_only,
                )
            )
        return put

    def tree(self, tenant: str, id_or_name: str, path: str) -> Iterator[tuple[str, bytes | None]]:
        """Return what is below a directory: its path from there, and its content.

        None is the content of a directory. What is no file and no directory is left out.
        """
        _check_path(path)
        session = self.handle(tenant, id_or_name)
        root = normal_path(path, session.working_dir)
        length = len(root.rstrip("/")) + 1
        for entry in session.list_files(root, recursive=True):
            if entry.kind == "directory":
                yield entry.path[length:], None
            elif entry.kind == "file":
                yield entry.path[length:], session.download(entry.path)

    def file(self, tenant: str, id_or_name: str, path: str) -> bytes:
        """Return the content of a file."""
        _check_path(path)
        return self.handle(tenant, id_or_name).download(path)

    def remove_file(self, tenant: str, id_or_name: str, path: str) -> None:
        """Remove a file or an empty directory."""
        _check_path(path)
        self.handle(tenant, id_or_name).remove(path)

    # --- time travel ---

    def history(self, tenant: str, id_or_name: str) -> list[StepDocument]:
        """Return every operation so far."""
        return [_step(step) for step in self.handle(tenant, id_or_name).history()]

    def fork(self, tenant: str, id_or_name: str, name: str | None) -> SessionDocument:
        """Create a session in the same state."""
        origin = self.handle(tenant, id_or_name)
        return self._add(tenant, name, origin.fork)

    def import_(self, tenant: str, archive: bytes, name: str | None) -> SessionDocument:
        """Create a session from an archive that this machine's key has signed.

        Raises:
            ArchiveError: it is none.
        """
        return self._add(
            tenant, name, lambda: self._checked(tenant, Session.import_(archive, store=self._store))
        )

    def _checked(self, tenant: str, session: Session) -> Session:
        """Refuse an archive of a session whose policy this server would not have given it."""
        row = self._store.sessions.get(session.id)
        assert row is not None
        settings = msgspec.json.decode(row.settings, type=dict[str, Any])
        # Bytes stand in JSON as base64.
        policy = msgspec.convert(settings.get("policy", ""), type=bytes, strict=False)
        try:
            _check_policy(policy, self._effects, tenant)
        except BaseException:
            session.delete()
            raise
        return session


def _document(row: SessionRow, name: str | None) -> SessionDocument:
    return SessionDocument(
        id=row.id,
        name=name,
        language=row.language,
        cwd=row.working_dir,
        created_ms=row.created_ns // NS_PER_MS,
        changed_ms=row.changed_ns // NS_PER_MS,
        operation_count=row.head.ordinal,
    )


def _check_policy(policy: bytes, effects: frozenset[str], tenant: str) -> None:
    """Refuse a policy that is kept, where this tenant would not have been given it."""
    document = msgspec.json.decode(policy) if policy else {}
    bound = policy_of(document, effects, tenant)
    if bound is not None and bound.net != document.get("net"):
        # Its names stay as they are kept, and mean the lists of the tenant that it was made for.
        raise ForeignListError(names=[GLOBAL_SCOPE])


def _step(step: Step) -> StepDocument:
    operation = step.operation
    if isinstance(operation, Ran):
        return StepDocument(ordinal=step.ordinal, operation="run", run_id=operation.run_id)
    kind = {Upload: "upload", Remove: "remove"}.get(type(operation), "cwd")
    return StepDocument(ordinal=step.ordinal, operation=kind, path=operation.path)


def _check_name(name: str | None) -> None:
    if name is None:
        return
    try:
        check_id("name", name)
    except Exception:  # noqa: BLE001 - whatever a name is not
        raise InvalidFieldError(
            field="name", problem="it has 1 to 200 bytes, all printable"
        ) from None
    if name.startswith(_ID_PREFIX) or "/" in name:
        raise InvalidFieldError(
            field="name", problem=f"it has no / and does not begin {_ID_PREFIX}"
        )


def _check_path(path: str) -> None:
    if not path or "\0" in path:
        raise InvalidRunError("a path is not empty and holds no NUL")
