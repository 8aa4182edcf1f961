"""The file system against a real one: the same steps, the same tree, the same errors.

The real one is a folder of the machine that runs the tests. Paths never go up beyond the root,
where the two differ on purpose. Now and then the guest's side is taken apart and put together from
its snapshot, which nobody may notice.
"""

# pathlib would tidy paths up, and untidy ones are the point.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH115, PTH116, PTH208, PTH211
from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from cloche.engine.descriptors import Descriptors, OpenFile
from cloche.engine.nodes import Directory, Errno, File, FileSystemError, Symlink
from cloche.engine.snapshot import (
    MachineState,
    capture_descriptors,
    capture_files,
    restore_descriptors,
    restore_files,
)
from cloche.engine.vfs import FileSystem
from engine.support import Now, make_limits

if not sys.platform.startswith("linux"):
    pytest.skip("errors are compared with those of Linux", allow_module_level=True)

NAMES = st.sampled_from("abc")
PARTS = st.one_of(NAMES, NAMES.map("{}/..".format), NAMES.map("{}/.".format))


def endings(*ends):
    """Return paths of a few names, some of them with such an end."""
    parts = st.tuples(st.lists(PARTS, max_size=2), NAMES, st.sampled_from(["", "", "", *ends]))
    return parts.map(lambda path: "/".join([*path[0], path[1]]) + path[2])


PATHS = endings("/", "/.", "/..", "/./")
# Linux refuses to remove or move what ends in a dot, each kind with another error.
MOVABLE_PATHS = endings("/")
TARGETS = st.lists(NAMES, min_size=1, max_size=2).map("/".join)
CONTENT = st.binary(max_size=6)


def outcome(action):
    """Return what an action gives, or the name of its error."""
    try:
        return action()
    except FileSystemError as error:
        return error.errno.name
    except OSError as error:
        return errno.errorcode[error.errno].removeprefix("E")


class SameAsTheRealOne(RuleBasedStateMachine):
    """Every rule does one thing to both and compares what came of it."""

    handles = Bundle("handles")

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.limits = make_limits()
        self.files = FileSystem(self.limits, Now())
        self.descriptors = Descriptors(self.files, 1000)
        self.real_of = {}

    def teardown(self):
        for real in self.real_of.values():
            os.close(real)
        shutil.rmtree(self.root)

    def same(self, ours, real):
        assert outcome(ours) == outcome(real)

    def at(self, path):
        return f"{self.root}/{path}"

    # --- names ---

    @rule(path=PATHS)
    def mkdir(self, path):
        self.same(lambda: self.files.make_directory(path), lambda: os.mkdir(self.at(path)))

    @rule(path=MOVABLE_PATHS)
    def rmdir(self, path):
        self.same(lambda: self.files.remove_directory(path), lambda: os.rmdir(self.at(path)))

    @rule(path=PATHS)
    def unlink(self, path):
        self.same(lambda: self.files.unlink(path), lambda: os.unlink(self.at(path)))

    @rule(path=MOVABLE_PATHS, to=MOVABLE_PATHS)
    def rename(self, path, to):
        self.same(
            lambda: self.files.rename(path, to), lambda: os.rename(self.at(path), self.at(to))
        )

    @rule(path=PATHS, leads_to=TARGETS)
    def symlink(self, path, leads_to):
        self.same(
            lambda: self.files.symlink(leads_to, path), lambda: os.symlink(leads_to, self.at(path))
        )

    @rule(path=PATHS, to=PATHS)
    def link(self, path, to):
        self.same(
            lambda: self.files.link(path, to),
            lambda: os.link(self.at(path), self.at(to), follow_symlinks=False),
        )

    @rule(path=PATHS)
    def readlink(self, path):
        self.same(lambda: self.files.read_link(path), lambda: os.readlink(self.at(path)))

    @rule(path=PATHS, follow=st.booleans())
    def stat(self, path, follow):
        self.same(
            lambda: shape(self.files.lookup(path, follow=follow)),
            lambda: real_shape(os.stat(self.at(path), follow_symlinks=follow)),
        )

    @rule(path=PATHS)
    def listdir(self, path):
        self.same(
            lambda: self.files.directory(path).names(), lambda: sorted(os.listdir(self.at(path)))
        )

    # --- content ---

    @rule(
        path=PATHS,
        data=CONTENT,
        exclusive=st.booleans(),
        truncate=st.booleans(),
        create=st.booleans(),
    )
    def write(self, path, data, exclusive, truncate, create):
        flags = os.O_WRONLY | exclusive * os.O_EXCL | truncate * os.O_TRUNC | create * os.O_CREAT
        if exclusive and not create:
            return  # undefined in POSIX

        def ours():
            node = self.files.open_file(
                path, create=create, exclusive=exclusive, truncate=truncate, write=True
            )
            return self.files.write(node, 2, data)

        def real():
            descriptor = os.open(self.at(path), flags)
            try:
                return os.pwrite(descriptor, data, 2)
            finally:
                os.close(descriptor)

        self.same(ours, real)

    @rule(path=PATHS, size=st.integers(0, 9))
    def truncate(self, path, size):
        def ours():
            node = self.files.open_file(path, write=True)
            self.files.resize(node, size)

        self.same(ours, lambda: os.truncate(self.at(path), size))

    # --- open files ---

    @rule(target=handles, path=PATHS)
    def open(self, path):
        def ours():
            node = self.files.open_file(path, create=True, write=True)
            return self.descriptors.open(OpenFile(node=node))

        number = outcome(ours)
        real = outcome(lambda: os.open(self.at(path), os.O_CREAT | os.O_RDWR))
        if isinstance(number, str):
            assert number == real
            return multiple()
        self.real_of[number] = real
        return number

    @rule(number=handles, offset=st.integers(0, 5), data=CONTENT)
    def use(self, number, offset, data):
        _, file = self.descriptors.file(number)
        real = self.real_of[number]
        assert self.files.write(file, offset, data) == os.pwrite(real, data, offset)
        assert self.files.read(file, 0, 100) == os.pread(real, 100, 0)
        assert file.link_count == os.fstat(real).st_nlink

    @rule(number=consumes(handles))
    def close(self, number):
        self.descriptors.close(number)
        os.close(self.real_of.pop(number))

    # --- durability ---

    @rule()
    def restore(self):
        descriptors, orphans = capture_descriptors(self.descriptors)
        state = MachineState(
            clock_started_ns=0,
            clock_now_ns=0,
            entropy_seed=0,
            entropy_block_count=0,
            next_inode=self.files.next_inode,
            nodes=capture_files(self.files) + orphans,
            descriptors=descriptors,
        )
        before = (self.files.used_bytes, self.files.file_count)
        self.files = FileSystem(self.limits, Now())
        self.descriptors = Descriptors(self.files, 1000)
        nodes = restore_files(state, self.files, None)
        restore_descriptors(state, self.descriptors, nodes)
        assert (self.files.used_bytes, self.files.file_count) == before
        again, orphans_again = capture_descriptors(self.descriptors)
        assert (again, capture_files(self.files) + orphans_again) == (descriptors, state.nodes)

    # --- what always holds ---

    @invariant()
    def trees_are_the_same(self):
        assert tree(self.files.root) == real_tree(self.root)

    @invariant()
    def charges_are_what_there_is(self):
        nodes = {id(node): node for _, node in walk("", self.files.root)}
        names = len(list(walk("", self.files.root)))
        total = sum(node.size * node.link_count for node in nodes.values() if type(node) is File)
        held = {id(o.node): o.node for _, o in self.descriptors.items() if type(o.node) is File}
        orphans = [node for node in held.values() if not node.link_count]
        assert self.files.file_count == names + len(orphans)
        assert self.files.used_bytes == total + sum(node.size for node in orphans)


def shape(node):
    """Return what both sides can say of a node."""
    if isinstance(node, Directory):
        return "directory"
    if isinstance(node, Symlink):
        return ("symlink", len(node.target), node.link_count)
    return ("file", node.size, node.link_count)


def real_shape(status):
    """Return the same of a real one."""
    kind = {0o4: "directory", 0o12: "symlink", 0o10: "file"}[status.st_mode >> 12]
    return kind if kind == "directory" else (kind, status.st_size, status.st_nlink)


def walk(prefix, directory):
    """Yield every name below a directory with its node."""
    for name in directory.names():
        node = directory.entries[name]
        yield f"{prefix}/{name}", node
        if isinstance(node, Directory):
            assert node.parent is directory
            yield from walk(f"{prefix}/{name}", node)


def tree(root):
    """Return the tree as a dict from path to what is there."""
    return {
        path: ("symlink", node.target)
        if isinstance(node, Symlink)
        else ("file", bytes(node.data))
        if isinstance(node, File)
        else "directory"
        for path, node in walk("", root)
    }


def real_tree(root):
    """Return the same of a real folder."""
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(folder, name)
            key = "/" + path.relative_to(root).as_posix()
            if path.is_symlink():
                found[key] = ("symlink", os.readlink(path))
            else:
                found[key] = "directory" if path.is_dir() else ("file", path.read_bytes())
    return found


TestSameAsTheRealOne = SameAsTheRealOne.TestCase
TestSameAsTheRealOne.__doc__ = "Any sequence of steps leaves both file systems alike."
TestSameAsTheRealOne.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_every_error_has_the_number_of_its_name():
    """The names of the error numbers are those of the machine's own."""
    assert {name for name in Errno.__members__ if not hasattr(errno, f"E{name}")} == {"SUCCESS"}
