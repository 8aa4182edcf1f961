"""Derived images: what a guest has become between two turns, as a start state for others.

Owns the way from an instance to an image in memory. Invariants:
- the memory lies in a sealed memfd: nobody can change it, and each instance maps it copy on write;
- an image's id is the digest of what it was made from and of what differs from that: the same
  program in the same image makes the same image, here and in another process;
- time and entropy are no part of it: each instance has those of its own machine.

It runs nothing and keeps nothing on disk: who wants an image again without running the program
keeps the snapshot of the instance, restores it, and derives.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import weakref
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.engine.adapters.images import Image, ImageMemory
from cloche.engine.adapters.mapping import ReadView
from cloche.engine.errors import ImageError
from cloche.engine.mounted import joined_tree
from cloche.engine.pages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.engine.adapters.instance import Instance
    from cloche.engine.snapshot import Snapshot

_SEALS: Final = (
    fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    if hasattr(fcntl, "F_SEAL_SEAL")
    else 0
)
_CHUNK_BYTES: Final = 16 * PAGE_BYTES

_encoder = msgspec.msgpack.Encoder()


def with_files(image: Image, files: Mapping[str, bytes]) -> Image:
    """Return an image whose instances also have these files, read-only and not listed at `/`.

    Every instance shows the same bytes; they count for no quota. The image has an id of its own.

    Args:
        image: of the catalogue.
        files: content by absolute path; no path starts where the image has files of its own.

    Raises:
        ImageError: a path does.
    """
    digest = hashlib.sha256(f"files of {image.id}".encode())
    for path in sorted(files):
        digest.update(b"\0%b\0" % path.encode())
        digest.update(hashlib.sha256(files[path]).digest())
    made = image.copy(digest.hexdigest())
    made.files = dict(files)
    made.tree = joined_tree(image.tree, {path: memoryview(files[path]) for path in files})
    return made


def derive(instance: Instance, *, kept: Snapshot | None = None) -> Image:
    """Make an image of an instance that waits between two turns. The instance is as before.

    Args:
        instance: attached to a machine.
        kept: its snapshot, if the caller has taken it just now or restored it.

    Raises:
        InstanceClosedError: a stop closed the instance before.
        ImageError: the kernel gives no memory.
    """
    return image_of(instance.image, instance.snapshot() if kept is None else kept)


def image_of(before: Image, snapshot: Snapshot) -> Image:
    """Make an image of a snapshot, without an instance; see `derive`.

    Args:
        before: the image that the snapshot belongs to.
        snapshot: checked (`check_snapshot`).

    Raises:
        ImageError: the kernel gives no memory.
    """
    image = before.copy(_id_of(snapshot))
    image.memory = _sealed(before, snapshot)
    # The clock and the entropy of who made it are no part of what others begin with.
    image.state = msgspec.structs.replace(snapshot.machine, entropy_seed=0, entropy_block_count=0)
    weakref.finalize(image, os.close, image.memory.descriptor)
    return image


def _id_of(snapshot: Snapshot) -> str:
    plain = msgspec.structs.replace(
        snapshot,
        machine=msgspec.structs.replace(snapshot.machine, entropy_seed=0, entropy_block_count=0),
    )
    return hashlib.sha256(b"derived\0" + _encoder.encode(plain)).hexdigest()


def _sealed(image: Image, snapshot: Snapshot) -> ImageMemory:
    """Write a memory to a memfd: what its image has, and what differs."""
    before = image.memory
    assert before is not None
    size = snapshot.memory_bytes
    try:
        descriptor = open_memory(image.name)
    except OSError as error:
        raise _no_memory(image, error) from error
    try:
        os.ftruncate(descriptor, size)
        for offset in range(0, before.size, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, before.size - offset)
            _write(descriptor, ctypes.string_at(before.base + offset, length), offset)
        for index, page in enumerate(snapshot.pages):
            piece = snapshot.content[index * PAGE_BYTES : (index + 1) * PAGE_BYTES]
            os.pwrite(descriptor, piece, page * PAGE_BYTES)
        seal_memory(descriptor)
        view = ReadView(descriptor, size)
    except OSError as error:
        os.close(descriptor)
        raise _no_memory(image, error) from error
    return ImageMemory(descriptor=descriptor, size=size, base=view.base, owner=view)


def open_memory(name: str) -> int:
    """Return a file in memory that can be sealed.

    Raises:
        OSError: the kernel gives none.
    """
    return os.memfd_create(f"cloche-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal_memory(descriptor: int) -> None:
    """See to it that nobody changes such a file any more."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)


def _write(descriptor: int, content: bytes, offset: int) -> None:
    """Write what is not zero: the rest of the file takes no memory."""
    if content.count(0) != len(content):
        os.pwrite(descriptor, content, offset)


def _no_memory(image: Image, error: OSError) -> ImageError:
    return ImageError(
        f"no memory for an image derived from {image.name}: {error.strerror}", image=image.name
    )
