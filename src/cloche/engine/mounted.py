"""The tree of an image's own files: built once, mounted by every file system of the image.

Owns its shape. Invariants: everything in it is read-only, and its inode numbers start at
`MOUNTED_INODE`, so that no guest's file has one of them. Pure: it holds views, it copies nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.engine.errors import ImageError
from cloche.engine.nodes import Directory, File, Node
from cloche.engine.vfs import MOUNTED_INODE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def mounted_tree(
    files: Mapping[str, memoryview],
    ghosts: frozenset[str] = frozenset(),
    *,
    first_inode: int = MOUNTED_INODE,
) -> Directory:
    """Build the tree of an image's own files, shared by every file system that mounts it.

    Args:
        files: content by absolute path. A path below another file's makes that one walkable.
        ghosts: directories that can be walked through and not be seen.
        first_inode: number of the root; those below it follow.
    """
    inode = first_inode
    root = Directory(inode=inode, mtime_ns=0, read_only=True)
    for path in sorted(files):
        directory = root
        *parents, name = path.strip("/").split("/")
        for depth, part in enumerate(parents):
            node = directory.entries.get(part)
            if node is None:
                inode += 1
                node = Directory(inode=inode, mtime_ns=0, read_only=True, parent=directory)
                node.ghost = "/" + "/".join(parents[: depth + 1]) in ghosts
                directory.entries[part] = node
            if isinstance(node, File):
                if node.beneath is None:
                    inode += 1
                    node.beneath = Directory(
                        inode=inode, mtime_ns=0, read_only=True, parent=directory
                    )
                node = node.beneath
            assert isinstance(node, Directory)
            directory = node
        inode += 1
        directory.entries[name] = File(inode=inode, mtime_ns=0, read_only=True, data=files[path])
    return root


def joined_tree(tree: Directory | None, files: Mapping[str, memoryview]) -> Directory:
    """Return a tree with more files, at names of the root that the other does not have.

    The nodes of `tree` are shared, not copied.

    Raises:
        ImageError: both have a name at the root.
    """
    before = [] if tree is None else [node.inode for node in nodes_below(tree)]
    added = mounted_tree(files, first_inode=max(before, default=MOUNTED_INODE) + 1)
    shared = {} if tree is None else tree.entries
    taken = sorted(shared.keys() & added.entries.keys())
    if taken:
        raise ImageError(f"the image has files of its own at /{taken[0]}")
    added.entries = {**shared, **added.entries}
    return added


def nodes_below(directory: Directory) -> Iterator[Node]:
    """Yield every node of a tree."""
    pending: list[Node] = [directory]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, File) and node.beneath is not None:
            pending.append(node.beneath)
        elif isinstance(node, Directory):
            pending.extend(node.entries.values())
