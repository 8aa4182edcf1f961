"""The apps of a store, put together: what a server, and the command line, work with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloche.apps.adapters.host import AppHost
from cloche.apps.errors import AppRouteError, AppVariableError
from cloche.apps.hostnames import HostNames
from cloche.apps.logs import AppLogs
from cloche.apps.manifest import find_manifest, variable_problem
from cloche.apps.recordings import Recordings
from cloche.apps.registry import Registry
from cloche.apps.routing import OWN_TENANT
from cloche.apps.storage.open import open_storage
from cloche.apps.storage.rows import app_name
from cloche.apps.versions import Versions
from cloche.engine.adapters.keys import load_key
from cloche.exec.api import default_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.adapters.guests import Guests
    from cloche.apps.bundle import Bundle
    from cloche.apps.hostnames import Deployer
    from cloche.apps.manifest import Manifest
    from cloche.apps.registry import App, Version
    from cloche.apps.routing import AppName
    from cloche.apps.storage.storage import Storage
    from cloche.exec.adapters.runner import Runner
    from cloche.limits import Limits
    from cloche.store.ports import Store

PREFIX = "/apps"
# What the server answers itself.
RESERVED = (
    "/.well-known",
    "/api",
    "/console",
    "/docs",
    "/favicon.ico",
    "/healthz",
    "/mcp",
    "/metrics",
    "/openapi.json",
    "/readyz",
    "/v1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Apps:
    """The parts.

    Args:
        names: host names that apps may have.
    """

    registry: Registry
    versions: Versions
    host: AppHost
    storage: Storage
    logs: AppLogs
    recordings: Recordings
    limits: Limits
    names: HostNames = field(default_factory=HostNames)
    now_ns: Callable[[], int] = time.time_ns

    def deploy(
        self,
        name: AppName,
        bundle: Bundle,
        *,
        who: str,
        env: Mapping[str, str] | None = None,
        canary_share: int | None = None,
        deployer: Deployer = "operator",
    ) -> tuple[Version, App]:
        """Evaluate a version, keep it, and let it answer; nothing answers that cannot start.

        Args:
            name: the app.
            bundle: its files.
            who: deploys.
            env: variables to set beside those that it has.
            canary_share: see `Registry.deploy`.
            deployer: what `who` may claim for the app: see `hostnames`; paths of its own that it
                does not have yet are for admins.

        Raises:
            ManifestError, BuildError: what is wrong with it; nothing was deployed.
            AppRouteError, AppEnvironmentError, AppVariableError, TooManyAppsError: nor here.
        """
        _check_variables(env or {})
        manifest = find_manifest(bundle, self.limits, name=name.name)
        before = self.registry.apps(name.tenant).get(name.name)
        hosts = self._hosts_of(name, manifest, before, deployer)
        prefixes = self._prefixes_of(name, manifest, before, deployer)
        values = {**({} if before is None else before.env), **(env or {})}
        was_kept = self.registry.has_version(name, bundle.digest)
        version = self.registry.keep(name, bundle, who=who)
        try:
            ready = self.versions.get(name, version.id, values)
            app = self.registry.deploy(
                name,
                version,
                manifest,
                who=who,
                hosts=hosts,
                prefixes=prefixes,
                env=env,
                canary_share=canary_share,
            )
        except BaseException:
            if not was_kept:
                self.registry.discard(name, version.id)
            raise
        if not self.registry.has_version(name, version.id):
            self.registry.keep(name, bundle, who=who)  # the app was removed meanwhile
        if app.live == version.id:  # those of a canary wait until it answers everybody
            self.schedule(name, ready.manifest)
        return version, app

    def rollback(self, name: AppName, *, who: str, to: str = "") -> App:
        """Let another version answer, and its schedules be those of the app; see `Registry`.

        Raises:
            AppEnvironmentError, BuildError, ManifestError: that version cannot start any more, as
                with the environment that the app has by now; what answered goes on.
        """
        registry = self.registry
        target = registry.version(name, to).id if to else registry.version_before(name)
        self.versions.get(name, target, registry.app(name).env)
        return self._settled(name, registry.rollback(name, who=who, to=to))

    def promote(self, name: AppName, *, who: str) -> App:
        """Let the canary answer everybody; see `Registry`."""
        return self._settled(name, self.registry.promote(name, who=who))

    def _settled(self, name: AppName, app: App) -> App:
        ready = self.versions.get(name, app.live, app.env)
        self.schedule(name, ready.manifest)
        return app

    def set_env(self, name: AppName, changes: Mapping[str, str | None], *, who: str) -> App:
        """Change the environment, if what answers can be evaluated with it.

        Raises:
            AppUnknownError: there is no such app.
            AppVariableError: there cannot be such a variable; nothing was changed.
            ManifestError, BuildError: it cannot; nor here.
        """
        _check_variables(changes)
        app = self.registry.app(name)
        values = {**app.env, **{key: value for key, value in changes.items() if value is not None}}
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
        for version in filter(None, (app.live, app.canary)):
            self.versions.get(name, version, values)
        return self.registry.set_env(name, changes, who=who)

    def schedule(self, name: AppName, manifest: Manifest) -> None:
        """Make the schedules of a manifest those of its app."""
        crons = {each.name: each.cron for each in manifest.schedules}
        app = app_name(name.name, name.tenant)
        self.storage.desk.set_schedules(app, crons, self.now_ns())

    def remove(self, name: AppName) -> None:
        """Remove an app with all that it has kept."""
        self.registry.remove(name)
        self.versions.forget(name)
        self.logs.remove(name)
        self.recordings.remove(name)
        self.storage.remove_app(name.name, tenant=name.tenant)

    def _hosts_of(
        self, name: AppName, manifest: Manifest, before: App | None, deployer: Deployer
    ) -> tuple[str, ...]:
        """Return the host names of an app: its own one, and those of the manifest.

        Raises:
            AppRouteError: one is not for this app.
        """
        held = () if before is None else before.hosts
        for host in manifest.hosts:
            self.names.check(name, host, deployer, is_held=host in held)
        return (self.names.of(name), *manifest.hosts)

    def _prefixes_of(
        self, name: AppName, manifest: Manifest, before: App | None, deployer: Deployer
    ) -> tuple[str, ...]:
        """Return the prefixes of an app likewise.

        Raises:
            AppRouteError: one is the server's own, or not for who asks for it.
        """
        own = name.tenant == OWN_TENANT
        held = () if before is None else before.prefixes
        for prefix in manifest.paths:
            first = "/" + prefix.strip("/").partition("/")[0]
            if first in (*RESERVED, PREFIX) or first == "/":
                raise AppRouteError(route=prefix, problem="is a path of the server itself")
            if not own:
                raise AppRouteError(route=prefix, problem="is not for apps of tenants")
            if deployer == "deployer" and prefix.rstrip("/") not in held:
                problem = "leads to no app yet, and a key with the scope admin has to say so"
                raise AppRouteError(route=prefix, problem=problem)
        place = name.name if own else f"~{name.tenant}/{name.name}"
        return (f"{PREFIX}/{place}", *(one.rstrip("/") for one in manifest.paths))


def _check_variables(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        problem = "" if value is None else variable_problem(name, value)
        if problem:
            raise AppVariableError(name=name, problem=problem)


def open_apps(
    store: Store,
    limits: Limits,
    *,
    runner: Runner | None = None,
    names: HostNames | None = None,
    allow_net: bool = True,
    guests: Callable[[Any], Guests] | None = None,
    now_ns: Callable[[], int] = time.time_ns,
) -> Apps:
    """Return the apps of a store; they last as long as it is open.

    Args:
        store: whoever opened it closes it.
        limits: in force.
        runner: executes; that of the process when None.
        names: host names that apps may have; `NAME.localhost` when None.
        allow_net: whether apps may make outbound calls.
        guests: makes, of the runner, what runs the code of apps; this process when None.
        now_ns: the wall clock.
    """
    runner = (runner or default_runner()).for_store(store.url)
    registry = Registry(store, limits, now_ns=now_ns)
    host = AppHost(
        runner, limits, secret=load_key(), guests=None if guests is None else guests(runner)
    )
    return Apps(
        registry=registry,
        versions=Versions(
            store, registry, host, limits, allow_net=allow_net, key=load_key, now_ns=now_ns
        ),
        host=host,
        storage=open_storage(store, limits=limits, now_ns=now_ns),
        logs=AppLogs(store, limits, now_ns=now_ns),
        recordings=Recordings(store, limits),
        limits=limits,
        names=names or HostNames(),
        now_ns=now_ns,
    )
