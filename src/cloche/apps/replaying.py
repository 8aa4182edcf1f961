"""Running a recorded request again: the same bytes in the same image with the same effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.apps.routing import AppName
from cloche.gate.journal import load_journal

if TYPE_CHECKING:
    from cloche.apps.messages import RecordedResponse
    from cloche.apps.open import Apps
    from cloche.apps.recordings import RecordedRequest


def replay_request(apps: Apps, request: RecordedRequest) -> RecordedResponse | None:
    """Return the response of a recorded request, made again; None when it had none.

    Raises:
        AppVersionError: its version is not kept any more.
        RecordingUnknownError: its journal is not.
        DivergenceError: the run did something else than was recorded.
    """
    tenant, _, name = request.app.partition("/")
    ready = apps.versions.get(AppName(tenant=tenant, name=name), request.version, request.env)
    journal = load_journal(apps.recordings.journal(request.id), apps.limits)
    _, response = apps.host.replay(ready.built, journal)
    return response
