"""A derived image in another process: handed out as two sealed files, taken in from them.

Owns what of an image has to cross: its memory, and in the second file what its instances begin with
(virtual OS, files). Invariants:
- nothing is copied: every process maps the same memory, which nobody can change;
- who takes an image in has the image that it was derived from, of the same name and version.

How descriptors and numbers get there is somebody else's affair.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.engine.adapters.derived import open_memory, seal_memory
from cloche.engine.adapters.images import Image, ImageMemory
from cloche.engine.adapters.mapping import ReadView
from cloche.engine.errors import ImageError
from cloche.engine.mounted import joined_tree
from cloche.engine.snapshot import MachineState  # noqa: TC001 - read at run time by msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BYTES: Final = 1 << 20


class _Content(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    state: MachineState
    files: dict[str, bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Content).decode


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Handout:
    """What another process needs to have an image.

    Args:
        image_id: of the image.
        base: name of the image of the catalogue that it was derived from.
        fuel: whether its code counts instructions.
        memory_bytes: size of its memory.
        memory: descriptor of it, open as long as the image lives.
        content: descriptor of the rest, open as long as this object lives.
    """

    image_id: str
    base: str
    fuel: bool
    memory_bytes: int
    memory: int
    content: int


def hand_out(image: Image) -> Handout:
    """Return what another process needs to have a derived image.

    Raises:
        ImageError: the kernel gives no memory, or the image was not derived.
    """
    memory, state = image.memory, image.state
    if memory is None or state is None:
        raise ImageError(f"the image {image.name} was not derived", image=image.name)
    body = _encode(_Content(state=state, files=dict(image.files)))
    try:
        content = open_memory(f"{image.name}-content")
    except OSError as error:
        raise _no_memory(image.name, error) from error
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(content, view) :]
        seal_memory(content)
    except OSError as error:
        os.close(content)
        raise _no_memory(image.name, error) from error
    found = Handout(
        image_id=image.id,
        base=image.name,
        fuel=image.engine.fuel,
        memory_bytes=memory.size,
        memory=memory.descriptor,
        content=content,
    )
    weakref.finalize(found, os.close, content)
    return found


def take_in(before: Image, image_id: str, memory_bytes: int, memory: int, content: int) -> Image:
    """Return an image that was handed out; both descriptors are this image's now.

    Args:
        before: what it was derived from.
        image_id: its id.
        memory_bytes: size of its memory.
        memory: descriptor of it.
        content: descriptor of the rest.

    Raises:
        ImageError: the kernel does not map it.
    """
    try:
        found = _decode(_all_of(content))
        os.close(content)
        view = ReadView(memory, memory_bytes)
    except OSError as error:
        raise _no_memory(before.name, error) from error
    image = before.copy(image_id)
    image.memory = ImageMemory(descriptor=memory, size=memory_bytes, base=view.base, owner=view)
    image.state, image.files = found.state, found.files
    if found.files:
        image.tree = joined_tree(before.tree, _views(found.files))
    weakref.finalize(image, os.close, memory)
    return image


def _all_of(descriptor: int) -> bytes:
    """Return the content of a file from its beginning: the descriptor's place is shared."""
    pieces: list[bytes] = []
    offset = 0
    while piece := os.pread(descriptor, _READ_BYTES, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _views(files: Mapping[str, bytes]) -> dict[str, memoryview]:
    return {path: memoryview(content) for path, content in files.items()}


def _no_memory(name: str, error: OSError) -> ImageError:
    return ImageError(f"no memory for an image derived from {name}: {error.strerror}", image=name)
