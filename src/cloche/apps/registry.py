"""The apps of a store: what is deployed, which version answers, and what was before.

Owns three kinds of documents: one `State` for all apps of a server, a `Version` for each set of
files, and what was done in order. Invariants:
- what answers changes in one write: versions, host names, prefixes, environment; a request sees all
  of a change or nothing of it;
- a version's files are kept before anything names it, and as long as something does;
- a host name or prefix leads to one app.

It runs nothing: whoever deploys builds a version first, so that none answers that cannot start.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.apps.bundle import bundle_of
from cloche.apps.errors import (
    AppRouteError,
    AppUnknownError,
    AppVersionError,
    NoCanaryError,
    TooManyAppsError,
)
from cloche.apps.kinds import Action  # noqa: TC001 - msgspec reads it
from cloche.apps.routing import AppName, Routes, Traffic
from cloche.store.errors import StoreChangedError, StoreUnknownError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.bundle import Bundle
    from cloche.apps.manifest import Manifest
    from cloche.limits import Limits
    from cloche.store.ports import Store

_STATE_KIND: Final = "apps"
_STATE_NAME: Final = "state"
_VERSIONS: Final = "apps.versions."
_ACTIONS: Final = "apps.actions."
_ORDINAL_DIGITS: Final = 12
_BEFORE_COUNT_MAX: Final = 100
_PAGE: Final = 1000
NS_PER_MS: Final = 1_000_000


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a version: its content is the blob of this SHA-256."""

    path: str
    sha256: str
    size_bytes: int


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One set of files of an app.

    Args:
        id: the digest of its bundle.
        number: for people, counted from 1.
        who: deployed it.
    """

    id: str
    number: int
    created_ms: int
    who: str
    files: tuple[File, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size_bytes for file in self.files)


class App(msgspec.Struct, frozen=True, kw_only=True):
    """What answers for an app.

    Args:
        live: the version that answers.
        canary: one that answers a share of the clients; empty for none.
        share: how many of a hundred clients.
        hosts: its host names.
        prefixes: its prefixes of paths.
        env: its environment.
        version_count: how many versions it has had.
        action_count: how many actions there were.
        created_ms: and the next: milliseconds of the Unix epoch.
        stopped: whether it answers nothing for now.
        before: the versions that answered before, the last one first.
    """

    live: str
    created_ms: int
    changed_ms: int
    canary: str = ""
    share: int = 0
    hosts: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    env: dict[str, str] = {}
    version_count: int = 1
    action_count: int = 0
    stopped: bool = False
    before: tuple[str, ...] = ()

    def answering(self, version_id: str) -> App:
        """Return this with another version that answers everybody."""
        before = self.before if version_id == self.live else (self.live, *self.before)
        return msgspec.structs.replace(
            self,
            live=version_id,
            before=before[:_BEFORE_COUNT_MAX],
            canary="",
            share=0,
            stopped=False,
        )

    @property
    def traffic(self) -> Traffic:
        """Which versions answer."""
        return Traffic(live=self.live, canary=self.canary, share=self.share)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All apps of a server, by `tenant/name`."""

    apps: dict[str, App] = {}

    def routes(self) -> Routes:
        """Return where requests lead."""
        hosts: dict[str, AppName] = {}
        prefixes: dict[str, AppName] = {}
        for text, app in self.apps.items():
            name = app_name_of(text)
            hosts.update(dict.fromkeys(app.hosts, name))
            prefixes.update(dict.fromkeys(app.prefixes, name))
        return Routes(hosts, prefixes)


class ActionDone(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to an app."""

    ordinal: int
    action: Action
    who: str
    at_ms: int
    version: str = ""
    detail: str = ""


def app_name_of(text: str) -> AppName:
    """Return the app that a text names."""
    tenant, _, name = text.partition("/")
    return AppName(tenant=tenant, name=name)


class Registry:
    """The apps of one store.

    Args:
        store: where all of it is kept.
        limits: the group `apps`.
        now_ns: the wall clock.
    """

    def __init__(self, store: Store, limits: Limits, *, now_ns: Callable[[], int]) -> None:
        self._documents = store.documents
        self._blobs = store.blobs
        self._limits = limits
        self._now_ns = now_ns

    # --- looking ---

    def state(self) -> tuple[int, State]:
        """Return all apps, and the revision of that; 0 when nothing was deployed yet."""
        kept = self._documents.get(_STATE_KIND, _STATE_NAME)
        if kept is None:
            return 0, State()
        return kept.revision, msgspec.json.decode(kept.data, type=State)

    def apps(self, tenant: str) -> dict[str, App]:
        """Return the apps of a tenant by their names, in order."""
        prefix = f"{tenant}/"
        _, state = self.state()
        return {
            text.removeprefix(prefix): app
            for text, app in sorted(state.apps.items())
            if text.startswith(prefix)
        }

    def app(self, name: AppName) -> App:
        """Return an app.

        Raises:
            AppUnknownError: there is none; as everywhere below.
        """
        _, state = self.state()
        return _app_in(state, name)

    def versions(self, name: AppName) -> list[Version]:
        """Return the versions of an app that are kept, newest first."""
        self.app(name)
        return self._versions(name)

    def _versions(self, name: AppName) -> list[Version]:
        kind = f"{_VERSIONS}{name}"
        found = [
            msgspec.json.decode(each.data, type=Version)
            for each in self._documents.list(kind, limit=_PAGE)
        ]
        return sorted(found, key=lambda version: -version.number)

    def version(self, name: AppName, wanted: str) -> Version:
        """Return a version by its id, the beginning of it, or its number (`3` or `v3`).

        Raises:
            AppVersionError: none, or more than one.
        """
        found = [
            version
            for version in self.versions(name)
            if wanted.removeprefix("v") == str(version.number) or version.id == wanted
        ] or [
            version for version in self.versions(name) if wanted and version.id.startswith(wanted)
        ]
        if len(found) != 1:
            problem = "is none of this app" if not found else "names more than one"
            raise AppVersionError(app=str(name), version=wanted, problem=problem)
        return found[0]

    def bundle(self, name: AppName, version_id: str) -> Bundle:
        """Return the files of a version.

        Raises:
            AppVersionError: it is not kept any more.
        """
        kept = self._documents.get(f"{_VERSIONS}{name}", version_id)
        if kept is None:
            raise AppVersionError(app=str(name), version=version_id, problem="is not kept")
        version = msgspec.json.decode(kept.data, type=Version)
        try:
            files = {file.path: self._blobs.get(file.sha256) for file in version.files}
        except StoreUnknownError:
            problem = "has lost its files"
            raise AppVersionError(app=str(name), version=version_id, problem=problem) from None
        return bundle_of(files, self._limits)

    def actions(self, name: AppName) -> list[ActionDone]:
        """Return what was done to an app, newest first."""
        self.app(name)
        kept = self._documents.list(f"{_ACTIONS}{name}", limit=_PAGE)
        return [msgspec.json.decode(each.data, type=ActionDone) for each in reversed(kept)]

    # --- deploying ---

    def keep(self, name: AppName, bundle: Bundle, *, who: str) -> Version:
        """Keep the files of a version, whether it will answer or not; the same files are one."""
        kind, version_id = f"{_VERSIONS}{name}", bundle.digest
        kept = self._documents.get(kind, version_id)
        if kept is not None:
            return msgspec.json.decode(kept.data, type=Version)
        now_ns = self._now_ns()
        files = []
        for path, content in bundle.files:
            info = self._blobs.put(content, now_ns=now_ns)
            self._blobs.pin(_holder(name, version_id), info.sha256)
            files.append(File(path=path, sha256=info.sha256, size_bytes=len(content)))
        number = 1 + max((each.number for each in self._versions(name)), default=0)
        version = Version(
            id=version_id,
            number=number,
            created_ms=now_ns // NS_PER_MS,
            who=who,
            files=tuple(files),
        )
        try:
            self._documents.put(
                Document(kind=kind, name=version_id, data=msgspec.json.encode(version))
            )
        except StoreChangedError:
            return self.keep(name, bundle, who=who)  # somebody else deployed the same files
        return version

    def deploy(
        self,
        name: AppName,
        version: Version,
        manifest: Manifest,
        *,
        who: str,
        hosts: tuple[str, ...],
        prefixes: tuple[str, ...],
        env: Mapping[str, str] | None = None,
        canary_share: int | None = None,
    ) -> App:
        """Let a version answer, for all clients or for a share of them.

        Args:
            name: the app, made when there is none.
            version: kept and built.
            manifest: of it; says which variables the environment needs.
            who: deploys.
            hosts: the app's host names from now on.
            prefixes: and its prefixes.
            env: variables to set beside those that it has.
            canary_share: 1 to 99 to let it answer so many of a hundred clients, beside the one that
                answers now.

        Raises:
            AppRouteError: another app has one of the names or prefixes.
            AppEnvironmentError: a variable has no value.
            TooManyAppsError: the server has as many as it may.
        """
        now_ms = self._now_ns() // NS_PER_MS

        def change(state: State) -> App:
            before = state.apps.get(str(name))
            values = {**({} if before is None else before.env), **(env or {})}
            manifest.environment(values)  # raises where one is missing
            _check_routes(state, name, hosts, prefixes)
            if before is None:
                if len(state.apps) >= self._limits.apps.app_count_max:
                    raise TooManyAppsError(limit_value=self._limits.apps.app_count_max)
                app = App(live=version.id, created_ms=now_ms, changed_ms=now_ms)
            elif canary_share is not None and version.id != before.live:
                app = msgspec.structs.replace(before, canary=version.id, share=canary_share)
            else:
                app = before.answering(version.id)
            return msgspec.structs.replace(app, hosts=hosts, prefixes=prefixes, env=values)

        action: Action = "deploy" if canary_share is None else "canary"
        detail = "" if canary_share is None else f"{canary_share} of 100 clients"
        app = self._change(name, change, action=action, who=who, version=version.id, detail=detail)
        self._prune(name, app)
        return app

    def version_before(self, name: AppName) -> str:
        """Return which version `rollback` without a version lets answer.

        Raises:
            AppVersionError: there is none.
        """
        kept = {version.id for version in self.versions(name)}
        return _version_before(name, self.app(name), kept)

    def rollback(self, name: AppName, *, who: str, to: str = "") -> App:
        """Let another version answer at once: the canary goes, or else the one before answers.

        Args:
            name: the app.
            who: decides.
            to: a version; when empty the one that answered before this one.

        Raises:
            AppVersionError: there is none before, or none such.
        """
        kept = {version.id for version in self.versions(name)}
        target = self.version(name, to).id if to else ""

        def change(state: State) -> App:
            app = _app_in(state, name)
            found = target or _version_before(name, app, kept)
            after = app.answering(found)
            if target or found == app.live:
                return after
            left = [version_id for version_id in app.before if version_id in kept]
            return msgspec.structs.replace(after, before=tuple(left[1:]))

        return self._change(name, change, action="rollback", who=who)

    def promote(self, name: AppName, *, who: str) -> App:
        """Let the canary answer everybody.

        Raises:
            NoCanaryError: there is none.
        """

        def change(state: State) -> App:
            app = _app_in(state, name)
            if not app.canary:
                raise NoCanaryError(app=name.name)
            return app.answering(app.canary)

        return self._change(name, change, action="promote", who=who)

    def set_env(self, name: AppName, changes: Mapping[str, str | None], *, who: str) -> App:
        """Set variables, or remove those that are None. Running requests keep what they have."""

        def change(state: State) -> App:
            app = _app_in(state, name)
            values = {
                **app.env,
                **{key: value for key, value in changes.items() if value is not None},
            }
            for key, value in changes.items():
                if value is None:
                    values.pop(key, None)
            return msgspec.structs.replace(app, env=values)

        # Names alone: values may be what nobody is to read in a log.
        detail = ", ".join(sorted(changes))
        return self._change(name, change, action="env", who=who, detail=detail)

    def stop(self, name: AppName, *, who: str, stopped: bool = True) -> App:
        """Let an app answer nothing, or answer again."""

        def change(state: State) -> App:
            return msgspec.structs.replace(_app_in(state, name), stopped=stopped)

        return self._change(name, change, action="stop" if stopped else "start", who=who)

    def remove(self, name: AppName) -> None:
        """Remove an app with its versions and what was done to it. Its storage is not touched."""
        self.app(name)
        told = self._documents.list(f"{_ACTIONS}{name}", limit=_PAGE)
        while True:
            revision, state = self.state()
            _app_in(state, name)
            left = {text: app for text, app in state.apps.items() if text != str(name)}
            if self._put_state(State(apps=left), revision):
                break
        for version in self._versions(name):
            self._drop(name, version.id)
            # Somebody may deploy meanwhile. They look for their version after they have named it,
            # and it is looked here, after it has gone, whether it is named: one of both sees it.
            again = self.state()[1].apps.get(str(name))
            if again is not None and version.id in (again.live, again.canary):
                self._restore(name, version)
        for kept in told:
            if self._documents.get(kept.kind, kept.name) == kept:
                self._documents.remove(kept.kind, kept.name)

    def _restore(self, name: AppName, version: Version) -> None:
        for file in version.files:
            self._blobs.pin(_holder(name, version.id), file.sha256)
        with contextlib.suppress(StoreChangedError):
            self._documents.put(
                Document(
                    kind=f"{_VERSIONS}{name}", name=version.id, data=msgspec.json.encode(version)
                )
            )

    def discard(self, name: AppName, version_id: str) -> None:
        """Forget a version that was kept and does not answer; one that answers stays."""
        app = self.state()[1].apps.get(str(name))
        if app is None or version_id not in (app.live, app.canary):
            self._drop(name, version_id)

    def has_version(self, name: AppName, version_id: str) -> bool:
        """Whether the files of a version are kept."""
        return self._documents.get(f"{_VERSIONS}{name}", version_id) is not None

    # --- keeping ---

    def _change(
        self,
        name: AppName,
        change: Callable[[State], App],
        *,
        action: Action,
        who: str,
        version: str = "",
        detail: str = "",
    ) -> App:
        """Change an app, however many others change something meanwhile."""
        while True:
            revision, state = self.state()
            app = change(state)
            now_ms = self._now_ns() // NS_PER_MS
            app = msgspec.structs.replace(app, action_count=app.action_count + 1, changed_ms=now_ms)
            if self._put_state(State(apps={**state.apps, str(name): app}), revision):
                break
        done = ActionDone(
            ordinal=app.action_count,
            action=action,
            who=who,
            at_ms=now_ms,
            version=version or app.live,
            detail=detail,
        )
        self._tell(name, done)
        return app

    def _put_state(self, state: State, revision: int) -> bool:
        data = msgspec.json.encode(state, order="sorted")
        document = Document(kind=_STATE_KIND, name=_STATE_NAME, data=data, revision=revision + 1)
        try:
            self._documents.put(document)
        except StoreChangedError:
            return False
        return True

    def _tell(self, name: AppName, done: ActionDone) -> None:
        kind = f"{_ACTIONS}{name}"
        ordinal = f"{done.ordinal:0{_ORDINAL_DIGITS}}"
        document = Document(kind=kind, name=ordinal, data=msgspec.json.encode(done))
        try:
            self._documents.put(document)
        except StoreChangedError:
            self._documents.remove(kind, ordinal)  # of an app of this name that is being removed
            self._documents.put(document)
        oldest = done.ordinal - self._limits.apps.action_count_max
        if oldest > 0:
            self._documents.remove(kind, f"{oldest:0{_ORDINAL_DIGITS}}")

    def _prune(self, name: AppName, app: App) -> None:
        """Forget the oldest versions that neither answer nor fit."""
        for version in self._versions(name)[self._limits.apps.version_count_max :]:
            if version.id not in (app.live, app.canary):
                self._drop(name, version.id)

    def _drop(self, name: AppName, version_id: str) -> None:
        self._documents.remove(f"{_VERSIONS}{name}", version_id)
        self._blobs.unpin(_holder(name, version_id))


def _holder(name: AppName, version_id: str) -> str:
    return f"app {name} {version_id}"


def _version_before(name: AppName, app: App, kept: set[str]) -> str:
    if app.canary:
        return app.live
    for version_id in app.before:
        if version_id in kept:
            return version_id
    problem = "has none before it that could answer again"
    raise AppVersionError(app=str(name), version=app.live, problem=problem)


def _app_in(state: State, name: AppName) -> App:
    app = state.apps.get(str(name))
    if app is None:
        raise AppUnknownError(name=name.name)
    return app


def _check_routes(
    state: State, name: AppName, hosts: tuple[str, ...], prefixes: tuple[str, ...]
) -> None:
    for text, other in state.apps.items():
        if text == str(name):
            continue
        taken = sorted({*hosts} & {*other.hosts}) + sorted({*prefixes} & {*other.prefixes})
        if taken:
            raise AppRouteError(route=taken[0])
