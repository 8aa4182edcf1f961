"""Leads `open` and the functions of `os` to the tree in use, or to WASI if a folder is given.

It has to be imported before any module that keeps a reference of its own to one of them (`pathlib`,
`shutil`, `glob`, `tokenize`), so it imports none of those. What has a descriptor goes to WASI.
"""

import builtins
import errno
import functools
import io
import os
import posixpath

from cloche_component import files

_tree = None
_real_open = io.open
_real_stat = os.stat


def folder_given():
    """Tell whether the host has given a folder as `/`."""
    try:
        _real_stat("/")
    except OSError:
        return False
    return True


def use(tree):
    """Lead all calls to a tree from now on; None for WASI."""
    global _tree
    _tree = tree


class Entry:
    """What `os.scandir` gives of a file."""

    def __init__(self, folder, name, node):
        self.name = name
        self.path = posixpath.join(folder, name)
        self._node = node

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return f"<DirEntry {self.name!r}>"

    def inode(self):
        return self._node.number

    def is_dir(self, *, follow_symlinks=True):
        return self._node.children is not None

    def is_file(self, *, follow_symlinks=True):
        return self._node.children is None

    def is_symlink(self):
        return False

    def is_junction(self):
        return False

    def stat(self, *, follow_symlinks=True):
        return self._node.stat()


class Entries:
    """The iterator of `os.scandir`."""

    def __init__(self, entries):
        self._entries = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._entries = iter(())


def _stat(tree, path, *, dir_fd=None, follow_symlinks=True):
    return tree.find(path).stat()


def _listdir(tree, path="."):
    names = sorted(tree.folder("." if path is None else path).children)
    return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names


def _scandir(tree, path="."):
    path = "." if path is None else os.fsdecode(path)
    children = tree.folder(path).children
    return Entries([Entry(path, name, children[name]) for name in sorted(children)])


def _mkdir(tree, path, mode=0o777, *, dir_fd=None):
    tree.add(path, folder=True)


def _unlink(tree, path, *, dir_fd=None):
    tree.remove(path, folder=False)


def _rmdir(tree, path, *, dir_fd=None):
    tree.remove(path, folder=True)


def _rename(tree, src, dst, *, src_dir_fd=None, dst_dir_fd=None):
    tree.move(src, dst)


def _chdir(tree, path):
    tree.folder(path)
    tree.cwd = tree.absolute(path)


def _access(tree, path, mode, *, dir_fd=None, effective_ids=False, follow_symlinks=True):
    try:
        node = tree.find(path)
    except OSError:
        return False
    return node.children is not None or not mode & os.X_OK


def _chmod(tree, path, mode, *, dir_fd=None, follow_symlinks=True):
    tree.find(path)  # permissions are not kept


def _utime(tree, path, times=None, *, ns=None, dir_fd=None, follow_symlinks=True):
    node = tree.find(path)
    if times is not None:
        ns = tuple(int(value * 10**9) for value in times)
    node.mtime_ns = files.time.time_ns() if ns is None else ns[1]


def _truncate(tree, path, length):
    node = tree.find(path)
    if node.children is not None:
        raise files.failure(errno.EISDIR, path)
    files.resize(tree, node, length, path)


def _readlink(tree, path, *, dir_fd=None):
    tree.find(path)
    raise files.failure(errno.EINVAL, path)


def _link(tree, src, dst, *_, **__):
    raise files.failure(errno.ENOTSUP, dst)


def _exit(status):
    raise SystemExit(status)  # the real one would end the instance, and all sessions in it


_ROUTES = {
    "stat": _stat,
    "lstat": _stat,
    "listdir": _listdir,
    "scandir": _scandir,
    "mkdir": _mkdir,
    "unlink": _unlink,
    "remove": _unlink,
    "rmdir": _rmdir,
    "rename": _rename,
    "replace": _rename,
    "chdir": _chdir,
    "access": _access,
    "chmod": _chmod,
    "utime": _utime,
    "truncate": _truncate,
    "readlink": _readlink,
    "symlink": _link,
    "link": _link,
}


def _route(real, memory):
    @functools.wraps(real)
    def call(*arguments, **named):
        if _tree is None or (arguments and isinstance(arguments[0], int)):
            return real(*arguments, **named)
        return memory(_tree, *arguments, **named)

    return call


def _open(
    file,
    mode="r",
    buffering=-1,
    encoding=None,
    errors=None,
    newline=None,
    closefd=True,
    opener=None,
):
    if _tree is None or isinstance(file, int) or opener is not None:
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    return files.open_file(_tree, file, mode, buffering, encoding, errors, newline)


def _absent(*_, **__):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def install():
    """Put the routes in place; once, when the component is built."""
    for name, memory in _ROUTES.items():
        setattr(os, name, _route(getattr(os, name, _absent), memory))
    real_cwd = os.getcwd
    os.getcwd = lambda: real_cwd() if _tree is None else _tree.cwd
    os.getcwdb = lambda: os.fsencode(os.getcwd())
    os._exit = _exit
    builtins.open = io.open = _open
