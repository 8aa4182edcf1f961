"""Folders of the host in a session: the picture taken, put in place, and kept as an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.exec.adapters.folders import picture_of
from cloche.exec.mounts import encode_picture
from cloche.exec.session_log import Mounted, normal_path

if TYPE_CHECKING:
    from cloche.exec.adapters.session_live import Live
    from cloche.exec.adapters.sessions import Sessions
    from cloche.exec.mounts import Mount


def mount_folder(sessions: Sessions, live: Live, mount: Mount) -> None:
    """Put a picture of a host's folder in place, and keep it.

    Raises:
        InvalidRunError: the folder cannot be taken. FileAccessError: its place is taken, or it does
            not fit. Nothing changed.
    """
    path = normal_path(mount.guest)
    limits = sessions.limits.replace(live.settings.limits)
    picture = encode_picture(picture_of(mount.host, limits))
    machine = sessions.awake(live)
    if not any(
        isinstance(step.operation, Mounted) and step.operation.path == path
        for step in sessions.history(live)
    ):
        machine.check_vacant(path)
    writable = mount.mode == "overlay"
    try:
        machine.mount(path, picture, writable=writable)
    except BaseException:
        sessions.drop(live)  # some of it may be in place
        raise
    kept = sessions.store.blobs.put(picture, now_ns=sessions.now_ns())
    sessions.keep(
        live,
        Mounted(path=path, sha256=kept.sha256, size_bytes=len(picture), writable=writable),
    )
