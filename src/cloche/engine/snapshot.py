"""Snapshots: what of a guest differs from its image, as one signed, compressed blob.

Pure: bytes in, bytes out. Layout: magic, version, HMAC-SHA-256 over all that follows, then a zstd
frame of the msgpack body. Invariants:
- nothing is parsed or decompressed before the signature is checked;
- a snapshot says which image it belongs to and opens for no other;
- the same state gives the same bytes.

It does not read memory (see `adapters/instance.py`) and does not keep keys.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import msgspec
import zstandard

from cloche.engine.descriptors import Descriptors, OpenFile, StreamName
from cloche.engine.errors import SnapshotError
from cloche.engine.mounted import nodes_below
from cloche.engine.nodes import Directory, File, Node, Symlink
from cloche.engine.pages import PAGE_BYTES
from cloche.engine.vfs import MOUNTED_INODE, FileSystem

if TYPE_CHECKING:
    from cloche.limits import Limits

MAGIC: Final = b"CLSN"
VERSION: Final = 1
KEY_BYTES: Final = 32
_HEADER_BYTES: Final = len(MAGIC) + 1
_MAC_BYTES: Final = 32
_COMPRESSION_LEVEL: Final = 3


class NodeState(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One inode. Exactly one of `data`, `entries`, `target` is set."""

    inode: int
    mtime_ns: int
    read_only: bool
    data: bytes | None = None
    entries: list[tuple[str, int]] | None = None
    hidden: list[str] = []
    target: str | None = None


class DescriptorState(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One open descriptor."""

    number: int
    stream: StreamName | None
    inode: int | None
    offset: int
    flags: int
    readable: bool
    writable: bool


class MachineState(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's virtual OS between two turns."""

    clock_started_ns: int
    clock_now_ns: int
    entropy_seed: int
    entropy_block_count: int
    next_inode: int
    nodes: list[NodeState]
    descriptors: list[DescriptorState]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The difference between a guest and its image.

    Args:
        image_id: the image it belongs to.
        memory_bytes: size of the memory; a multiple of 65536.
        pages: page numbers, ascending.
        content: those pages, one after the other.
        machine: the virtual OS.
    """

    image_id: str
    memory_bytes: int
    pages: list[int]
    content: bytes
    machine: MachineState


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def seal(snapshot: Snapshot, key: bytes) -> bytes:
    """Return the signed bytes of a snapshot."""
    body = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(_encoder.encode(snapshot))
    head = MAGIC + bytes([VERSION])
    return head + _sign(head, body, key) + body


def unseal(blob: bytes, key: bytes, *, limits: Limits, image_id: str | None = None) -> Snapshot:
    """Check and open a snapshot.

    Args:
        blob: what `seal` returned.
        key: the key it was signed with.
        limits: `engine.snapshot_limit_bytes` bounds what it may expand to.
        image_id: if given, the image that it must belong to.

    Raises:
        SnapshotError: wrong magic or version, wrong signature, another image, too large, or signed
            and yet no snapshot.
    """
    head, mac = blob[:_HEADER_BYTES], blob[_HEADER_BYTES : _HEADER_BYTES + _MAC_BYTES]
    body = blob[_HEADER_BYTES + _MAC_BYTES :]
    if head[: len(MAGIC)] != MAGIC or len(mac) != _MAC_BYTES:
        raise SnapshotError("this is not a snapshot: it does not start with CLSN")
    if head[-1] != VERSION:
        raise SnapshotError(
            f"the snapshot has format {head[-1]}, expected {VERSION}; use the version of cloche "
            "that wrote it"
        )
    if not hmac.compare_digest(mac, _sign(head, body, key)):
        raise SnapshotError(
            "the snapshot's signature does not match: it was changed, or signed with another key"
        )
    try:
        snapshot = _decoder.decode(_decompress(body, limits.engine.snapshot_limit_bytes))
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(
            f"what was signed is not a snapshot of format {VERSION}: {error}; use the version of "
            "cloche that wrote it"
        ) from error
    if image_id is not None and snapshot.image_id != image_id:
        raise SnapshotError(
            f"the snapshot belongs to image {snapshot.image_id[:12]}, not to {image_id[:12]}; "
            "restore it with the image it was taken from",
            found=snapshot.image_id,
            expected=image_id,
        )
    check_snapshot(snapshot)
    return snapshot


def check_snapshot(snapshot: Snapshot) -> None:
    """Refuse a snapshot whose pages are not those of its memory.

    Raises:
        SnapshotError: they are not.
    """
    if len(snapshot.content) != len(snapshot.pages) * PAGE_BYTES or any(
        page < 0 or (page + 1) * PAGE_BYTES > snapshot.memory_bytes for page in snapshot.pages
    ):
        raise SnapshotError("the snapshot's pages do not match its memory")


def _sign(head: bytes, body: bytes, key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise SnapshotError(f"a snapshot key has {KEY_BYTES} bytes, this one has {len(key)}")
    return hmac.new(key, head + body, hashlib.sha256).digest()


def _decompress(body: bytes, limit_bytes: int) -> bytes:
    size = zstandard.frame_content_size(body)
    if not 0 <= size <= limit_bytes:
        raise SnapshotError(
            f"the snapshot expands to {size} bytes; engine.snapshot_limit_bytes is {limit_bytes}"
        )
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=limit_bytes)


# --- the virtual OS as data ---


def capture_files(files: FileSystem) -> list[NodeState]:
    """Return every inode of the guest's own, in order of inode number."""
    found: dict[int, NodeState] = {}
    pending: list[Node] = [files.root]
    while pending:
        node = pending.pop()
        if node.inode in found or node.inode >= MOUNTED_INODE:
            continue
        found[node.inode] = _node_state(node)
        if isinstance(node, Directory):
            pending.extend(node.entries.values())
    return [found[inode] for inode in sorted(found)]


def _node_state(node: Node) -> NodeState:
    state = NodeState(inode=node.inode, mtime_ns=node.mtime_ns, read_only=node.read_only)
    if isinstance(node, Directory):
        own = {n: c for n, c in node.entries.items() if c.inode < MOUNTED_INODE}
        return msgspec.structs.replace(
            state,
            entries=sorted((name, child.inode) for name, child in own.items()),
            hidden=sorted(node.hidden & own.keys()),
        )
    if isinstance(node, Symlink):
        return msgspec.structs.replace(state, target=node.target)
    assert isinstance(node, File)
    return msgspec.structs.replace(state, data=bytes(node.data))


def capture_descriptors(descriptors: Descriptors) -> tuple[list[DescriptorState], list[NodeState]]:
    """Return the open descriptors, and what is open that no directory names any more."""
    states: list[DescriptorState] = []
    orphans: dict[int, NodeState] = {}  # two descriptors may hold the same
    for number, opened in descriptors.items():
        node = opened.node
        if node is not None and not node.link_count and node.inode < MOUNTED_INODE:
            orphans.setdefault(node.inode, _node_state(node))
        states.append(
            DescriptorState(
                number=number,
                stream=opened.stream,
                inode=None if node is None else node.inode,
                offset=opened.offset,
                flags=opened.flags,
                readable=opened.readable,
                writable=opened.writable,
            )
        )
    return states, list(orphans.values())


def restore_files(
    state: MachineState, files: FileSystem, tree: Directory | None
) -> dict[int, Node]:
    """Rebuild the files in a new file system; return their nodes by inode number.

    Args:
        state: from the snapshot.
        files: fresh.
        tree: the image's own files, mounted again.

    Raises:
        SnapshotError: the files do not form a tree.
    """
    nodes = {entry.inode: _revive(entry) for entry in state.nodes}
    for entry in state.nodes:
        directory = nodes[entry.inode]
        if entry.entries is None or not isinstance(directory, Directory):
            continue
        for name, inode in entry.entries:
            child = nodes.get(inode)
            if child is None:
                raise SnapshotError("the snapshot names a file that it does not hold")
            directory.entries[name] = child
            child.link_count += 1
            if isinstance(child, Directory):
                child.parent = directory
    if not isinstance(nodes.get(min(nodes, default=0)), Directory):
        raise SnapshotError("the snapshot has no root directory")
    files.adopt(nodes, next_inode=state.next_inode)
    if tree is not None:
        files.mount(tree)
    return nodes


def _revive(entry: NodeState) -> Node:
    node: Node
    if entry.entries is not None:
        hidden = frozenset(entry.hidden)
        node = Directory(inode=entry.inode, mtime_ns=entry.mtime_ns, hidden=hidden)
    elif entry.target is not None:
        node = Symlink(inode=entry.inode, mtime_ns=entry.mtime_ns, target=entry.target)
    else:
        data = bytearray(entry.data or b"")
        node = File(inode=entry.inode, mtime_ns=entry.mtime_ns, data=data)
    node.read_only = entry.read_only
    node.link_count = 0  # counted when the entries that name it are restored
    return node


def restore_descriptors(
    state: MachineState,
    descriptors: Descriptors,
    nodes: dict[int, Node],
    tree: Directory | None = None,
) -> None:
    """Reopen what was open.

    Args:
        state: from the snapshot.
        descriptors: of the new file system.
        nodes: as `restore_files` returned them.
        tree: the image's own files, which may be open, too.

    Raises:
        SnapshotError: a descriptor's file is not there.
    """
    open_inodes = {entry.inode for entry in state.descriptors if entry.inode is not None}
    if tree is not None and not open_inodes <= nodes.keys():
        mounted = {node.inode: node for node in nodes_below(tree) if node.inode in open_inodes}
        nodes = mounted | nodes
    if not open_inodes <= nodes.keys():
        raise SnapshotError("the snapshot has a file open that it does not hold")
    descriptors.adopt(
        {
            entry.number: OpenFile(
                stream=entry.stream,
                node=None if entry.inode is None else nodes[entry.inode],
                offset=entry.offset,
                flags=entry.flags,
                readable=entry.readable,
                writable=entry.writable,
            )
            for entry in state.descriptors
        }
    )
