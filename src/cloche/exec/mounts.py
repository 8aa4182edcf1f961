"""Folders of the host in a session: what is asked for, and the picture that is taken of one.

Pure. A mount is a picture: the folder is read once, when it is mounted, and what was read is kept
with the session like an upload. So a session replays, forks and travels with its mounts, a guest
never holds a handle of the host, and what a program writes stays in the session.

Reading the folder is `adapters/folders.py`, putting a picture in place `adapters/pictures.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import msgspec

from cloche.exec.errors import InvalidRunError

MountMode = Literal["ro", "overlay"]
MODES: Final = get_args(MountMode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of the host that a session may see.

    Args:
        host: path of the folder.
        guest: absolute path in the session; nothing may be there, or an earlier mount.
        mode: "ro": programs cannot change it. "overlay": they can, and only the session sees it.
    """

    host: str
    guest: str
    mode: MountMode = "ro"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidRunError(f"{self.mode!r} is no kind of mount; there are ro and overlay")
        if not self.host or "\0" in self.host:
            raise InvalidRunError(f"{self.host!r} is no folder that can be mounted")
        if not self.guest.startswith("/") or ".." in self.guest.split("/"):
            raise InvalidRunError(
                f"a folder cannot be mounted at {self.guest!r}; that must be an absolute path "
                "without `..`"
            )

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Return the mount that `HOST:GUEST[:ro|overlay]` says.

        Raises:
            InvalidRunError: it says none.
        """
        rest, mode = text, "ro"
        for known in MODES:
            if text.endswith(f":{known}"):
                rest, mode = text.removesuffix(f":{known}"), known
        # From the right: folders of the host may have a colon in their names.
        host, colon, guest = rest.rpartition(":")
        if not colon:
            raise InvalidRunError(f"{text!r} is no mount; it is HOST:GUEST, with :ro or :overlay")
        return cls(host=host, guest=guest, mode=mode)  # type: ignore[arg-type] # one of MODES


class Pictured(msgspec.Struct, frozen=True, array_like=True):
    """One thing in a folder: path relative to it; `content` is the target of a link."""

    path: str
    kind: Literal["file", "directory", "symlink"]
    content: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Pictured, ...])


def encode_picture(picture: tuple[Pictured, ...]) -> bytes:
    """Return a picture as bytes: equal folders give equal bytes."""
    return _encoder.encode(picture)


def decode_picture(data: bytes) -> tuple[Pictured, ...]:
    """Return the picture that `encode_picture` wrote."""
    return _decoder.decode(data)
