"""Tests of an image's own files: the shape of the tree, archives that are walked into, ghosts."""

from __future__ import annotations

from cloche.engine.mounted import mounted_tree, nodes_below
from cloche.engine.nodes import Directory, Errno, File
from cloche.engine.vfs import MOUNTED_INODE
from engine.support import content, fails, make_files

FILES = {
    "/usr/lib/std.zip": memoryview(b"PK"),
    "/usr/lib/std.zip/os.py": memoryview(b"os"),
    "/usr/lib/std.zip/json/__init__.py": memoryview(b"json"),
    "/usr/share/zone/UTC": memoryview(b"TZ"),
}


def make_mounted(ghosts=frozenset()):
    """Return a file system that mounts FILES."""
    files = make_files()
    files.mount(mounted_tree(FILES, ghosts))
    return files


def test_an_archive_is_a_file_and_can_be_walked_into():
    """The archive opens as a file; what it holds is found below it."""
    files = make_mounted()
    assert content(files, "/usr/lib/std.zip") == b"PK"
    assert content(files, "/usr/lib/std.zip/os.py") == b"os"
    assert content(files, "/usr/lib/std.zip/json/../os.py") == b"os"
    assert files.directory("/usr/lib").names() == ["std.zip"]
    with fails(Errno.NOTDIR):
        files.lookup("/usr/lib/std.zip/")
    with fails(Errno.NOENT):
        files.lookup("/usr/lib/std.zip/none.py")


def test_going_up_from_inside_an_archive():
    """The parent of what is inside the archive's top is where the archive lies."""
    files = make_mounted()
    assert files.lookup("/usr/lib/std.zip/json/../..") is files.lookup("/usr/lib")


def test_ghosts_lead_somewhere_and_are_not_there():
    """A ghost can be walked through; asked for itself it is no directory."""
    files = make_mounted(frozenset({"/usr/lib/std.zip/json", "/usr/share"}))
    assert content(files, "/usr/share/zone/UTC") == b"TZ"
    with fails(Errno.NOTDIR):
        files.lookup("/usr/share")
    with fails(Errno.NOTDIR):
        files.lookup("/usr/share/zone/..")


def test_numbers_and_rights():
    """Every node is read-only, of the image's numbers, each with its own; the content is a view."""
    nodes = list(nodes_below(mounted_tree(FILES)))
    assert all(node.read_only for node in nodes)
    assert sorted(node.inode for node in nodes) == list(
        range(MOUNTED_INODE, MOUNTED_INODE + len(nodes))
    )
    assert {node.size for node in nodes if isinstance(node, File)} == {2, 4}
    assert any(node.data is FILES["/usr/share/zone/UTC"] for node in nodes if type(node) is File)


def test_same_files_same_tree():
    """The order in which the files are given does not matter."""
    backwards = dict(reversed(FILES.items()))
    one, other = mounted_tree(FILES), mounted_tree(backwards)
    assert [n.inode for n in nodes_below(one)] == [n.inode for n in nodes_below(other)]


def test_a_mounted_name_wins():
    """What an image mounts stands where a guest's directory of that name was."""
    files = make_files("/usr/mine")
    files.mount(mounted_tree(FILES))
    assert isinstance(files.lookup("/usr/lib"), Directory)
    assert [file.path for file in files.files()] == []
