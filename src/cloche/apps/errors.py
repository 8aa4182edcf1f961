"""Errors of hosting apps: what a version is refused for, and how a request can go wrong.

Invariants:
- what the app did wrong is of blame `guest`, what who deploys it did wrong of blame `caller`;
- a request that failed names the code alone to its client; the rest is for the app's log.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cloche.errors import Blame, ClocheError

TOLD_LENGTH_MAX = 4000  # letters of what a program printed that an error repeats


class AppError(ClocheError):
    """Base of the errors of hosting apps."""

    code = "APP_ERROR"
    blame: ClassVar[Blame] = "caller"


class ManifestError(AppError):
    """A manifest says something that it cannot; nothing was deployed."""

    code = "APP_MANIFEST"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"the manifest: {where} {problem}", where=where, problem=problem)


class BundleError(AppError):
    """The files of a version cannot be used; nothing was deployed."""

    code = "APP_FILES"

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(f"the file {path!r} {problem}", path=path, problem=problem)


class BundleTooLargeError(AppError):
    """A version has more files or bytes than an app may have."""

    code = "APP_TOO_LARGE"
    blame: ClassVar[Blame] = "limit"

    def __init__(self, *, what: str, found: int, limit: str, limit_value: int) -> None:
        super().__init__(
            f"{what}: {found}; {limit} allows at most {limit_value}",
            found=found,
            limit=limit,
            limit_value=limit_value,
        )


class BuildError(AppError):
    """The top level of an app cannot be evaluated; nothing was deployed.

    `printed` is what it printed, with its traceback.
    """

    code = "APP_BUILD"
    blame: ClassVar[Blame] = "guest"

    def __init__(self, problem: str, *, printed: str = "", **fields: Any) -> None:
        printed = printed[-TOLD_LENGTH_MAX:]
        super().__init__(f"{problem}\n{printed}".rstrip(), printed=printed, **fields)


class TopLevelEffectError(BuildError):
    """The top level of an app asked for an effect: only handlers may."""

    code = "APP_TOP_LEVEL_EFFECT"


class TopLevelTimeError(BuildError):
    """The top level of an app did not end in time."""

    code = "APP_TOP_LEVEL_TIME"


class HandlerMissingError(BuildError):
    """An app exports nothing that could answer requests, and serves no files either."""

    code = "APP_HANDLER_MISSING"


class AppImageError(AppError):
    """The kept state of a version is of other files or another guest: build it again."""

    code = "APP_IMAGE"
    blame: ClassVar[Blame] = "environment"


class AppRequestError(AppError):
    """A request cannot be given to an app. `status` answers it."""

    code = "APP_REQUEST"
    status: ClassVar[int] = 400


class AppMethodError(AppRequestError):
    """Apps do not get requests of this method."""

    code = "APP_METHOD"
    status: ClassVar[int] = 501


class AppRequestTooLargeError(AppRequestError):
    """A body is larger than an app takes."""

    code = "APP_REQUEST_TOO_LARGE"
    blame: ClassVar[Blame] = "limit"
    status: ClassVar[int] = 413

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(
            f"the body has more than {limit_bytes} bytes (apps.request_limit_bytes)",
            limit="apps.request_limit_bytes",
            limit_value=limit_bytes,
        )


class NoResponseError(AppError):
    """A handler ended and answered nothing. The client got status 500."""

    code = "APP_NO_RESPONSE"
    blame: ClassVar[Blame] = "guest"


class HandlerFailedError(AppError):
    """A handler ended with an error; who waits for its value gets none."""

    code = "APP_HANDLER_FAILED"
    blame: ClassVar[Blame] = "guest"


class AppUnknownError(AppError):
    """There is no app of this name, or it is another tenant's."""

    code = "APP_UNKNOWN"
    status: ClassVar[int] = 404

    def __init__(self, *, name: str) -> None:
        super().__init__(f"there is no app {name!r}; `cloche app list` shows them", name=name)


class AppVariableError(AppError):
    """A variable cannot be set; nothing was changed."""

    code = "APP_VARIABLE"

    def __init__(self, *, name: str, problem: str) -> None:
        super().__init__(f"the environment cannot have {name!r}: {problem}", name=name)


class AppVersionError(AppError):
    """A version that is asked for is none of the app, or not kept any more."""

    code = "APP_VERSION"
    status: ClassVar[int] = 404

    def __init__(self, *, app: str, version: str, problem: str) -> None:
        super().__init__(
            f"the version {version!r} of {app} {problem}; `cloche app versions` shows them",
            app=app,
            version=version,
        )


class NoCanaryError(AppError):
    """An app has no canary that could answer everybody; nothing changed."""

    code = "APP_NO_CANARY"
    status: ClassVar[int] = 409

    def __init__(self, *, app: str) -> None:
        super().__init__(
            f"the app {app!r} has no canary; deploy one with "
            "`cloche app deploy FOLDER --canary SHARE`, or let a version that is kept answer with "
            "`cloche app rollback NAME --to VERSION`",
            app=app,
        )


class AppRouteError(AppError):
    """A host name or prefix leads somewhere else already, or is not for apps; nothing changed."""

    code = "APP_ROUTE"
    status: ClassVar[int] = 409

    def __init__(self, *, route: str, problem: str = "leads to another app already") -> None:
        super().__init__(f"{route!r} {problem}", route=route)


class AppNamesError(AppError):
    """The names that apps may have cannot be those; nothing was opened."""

    code = "APP_NAMES"

    def __init__(self, *, name: str, problem: str) -> None:
        super().__init__(f"{name!r} {problem}", name=name, problem=problem)


class AppEnvironmentError(AppError):
    """Variables that the manifest names have no value; nothing was deployed."""

    code = "APP_ENVIRONMENT"

    def __init__(self, *, names: list[str]) -> None:
        shown = ", ".join(names)
        super().__init__(
            f"the environment has no value for {shown}; give one with --env NAME=VALUE", names=names
        )


class TooManyAppsError(AppError):
    """The server has as many apps as it may."""

    code = "APP_COUNT"
    blame: ClassVar[Blame] = "limit"

    def __init__(self, *, limit_value: int) -> None:
        super().__init__(
            f"there are {limit_value} apps already (apps.app_count_max); remove one",
            limit="apps.app_count_max",
            limit_value=limit_value,
        )


class RecordingUnknownError(AppError):
    """There is no recorded request of this id."""

    code = "APP_REQUEST_UNKNOWN"
    status: ClassVar[int] = 404

    def __init__(self, *, id: str) -> None:  # noqa: A002 - as the field is named
        super().__init__(
            f"there is no recorded request {id!r}; `cloche app requests` shows them", id=id
        )


class AppBusyError(AppError):
    """There is no room for a request, or none in time. State: it was not given to its app."""

    code = "APP_BUSY"
    blame: ClassVar[Blame] = "limit"
    status: ClassVar[int] = 503
    retryable = True

    def __init__(self, problem: str, *, limit: str, limit_value: int) -> None:
        super().__init__(
            f"{limit_value} {problem} ({limit}); try again in a moment",
            limit=limit,
            limit_value=limit_value,
        )


class AppStoppedError(AppError):
    """An app was stopped by who runs it."""

    code = "APP_STOPPED"
    status: ClassVar[int] = 503

    def __init__(self) -> None:
        super().__init__("this app is stopped")


class TooManySocketsError(AppError):
    """As many WebSockets of apps are open as may be."""

    code = "APP_SOCKETS"
    blame: ClassVar[Blame] = "limit"
    status: ClassVar[int] = 503
    retryable = True

    def __init__(self, *, limit_value: int) -> None:
        super().__init__(
            f"{limit_value} WebSockets of apps are open already (apps.socket_count_max)",
            limit="apps.socket_count_max",
            limit_value=limit_value,
        )


class SocketFailedError(AppError):
    """The handler of a WebSocket failed before it accepted."""

    code = "APP_SOCKET_FAILED"
    blame: ClassVar[Blame] = "guest"
    status: ClassVar[int] = 500

    def __init__(self) -> None:
        super().__init__("the app did not answer this request; its log says why")
