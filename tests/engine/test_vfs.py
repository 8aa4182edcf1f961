"""Tests of the file system: paths, links, POSIX errors, quotas, what goes in and out."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.mounted import mounted_tree, nodes_below
from cloche.engine.nodes import Directory, Errno, File, FileSystemError
from cloche.engine.vfs import NAME_LIMIT_BYTES, SYMLINK_HOPS_MAX, FileSystem, StoredFile
from engine.support import Now, content, fails, make_files, make_limits, paths, put

# --- paths ---


@pytest.mark.parametrize(
    "path",
    [
        "/d/f",
        "d/f",
        "//d//f",
        "./d/./f",
        "/../../d/f",
        "d/../d/f",
        "/d/../../d/f",
        "/d/e/../f",
        "/up/d/f",
        "/link",
        "/d/e/back",
    ],
)
def test_names_of_the_same_file(path):
    """Dots, slashes and links lead to the file that they mean; nothing leads out of the root."""
    files = make_files("/d/f", "/d/e/")
    files.symlink("/", "/up")
    files.symlink("../../d/f", "/link")
    files.symlink("../f", "/d/e/back")
    assert files.lookup(path) is files.root.entries["d"].entries["f"]


@given(st.lists(st.sampled_from(["..", ".", "d", "up", "f"]), max_size=12).map("/".join))
def test_no_path_leaves_the_root(path):
    """However a path is put together, what it finds is in the tree."""
    files = make_files("/d/f", "/f")
    files.symlink("../..", "/d/up")
    files.symlink("/../d", "/up")
    inside = {id(node) for node in nodes_below(files.root)}
    try:
        found = files.lookup(path)
    except FileSystemError:
        return
    assert id(found) in inside


def test_relative_paths_start_where_they_are_told():
    """`start` is where a relative path begins; an absolute one begins at the root."""
    files = make_files("/d/e/f", "/f")
    start = files.directory("/d/e")
    assert content_of(files, "f", start) == b"/d/e/f"
    assert content_of(files, "../../f", start) == b"/f"
    assert content_of(files, "/f", start) == b"/f"


def content_of(files, path, start):
    """Return the content of a file named from a directory."""
    node = files.lookup(path, start=start)
    return files.read(node, 0, node.size)


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("", Errno.NOENT),
        ("a\0b", Errno.ILSEQ),
        ("\0", Errno.ILSEQ),
        ("a\ud800", Errno.ILSEQ),
        ("x" * (NAME_LIMIT_BYTES + 1), Errno.NAMETOOLONG),
        ("é" * (NAME_LIMIT_BYTES // 2 + 1), Errno.NAMETOOLONG),
        ("x/" * 2049, Errno.NAMETOOLONG),
        ("none", Errno.NOENT),
        ("none/f", Errno.NOENT),
        ("none/..", Errno.NOENT),
        ("f/x", Errno.NOTDIR),
        ("f/", Errno.NOTDIR),
        ("f/.", Errno.NOTDIR),
        ("f/./", Errno.NOTDIR),
        ("f/..", Errno.NOTDIR),
        ("link/", Errno.NOTDIR),
        ("dangling", Errno.NOENT),
        ("self", Errno.LOOP),
        ("ping", Errno.LOOP),
        ("ping/x", Errno.LOOP),
    ],
)
def test_lookup_errors(path, errno):
    """Each path that leads nowhere says why."""
    files = make_files("/f", "/d/")
    files.symlink("f", "/link")
    files.symlink("none", "/dangling")
    files.symlink("self", "/self")
    files.symlink("pong", "/ping")
    files.symlink("ping", "/pong")
    with fails(errno):
        files.lookup(path)


def test_limits_of_a_path_are_exact():
    """The longest path and the longest name are taken, one byte more is not."""
    name = "n" * NAME_LIMIT_BYTES
    files = make_files(path_limit_bytes=NAME_LIMIT_BYTES + 1)
    put(files, f"/{name}")
    assert paths(files) == [f"/{name}"]
    with fails(Errno.NAMETOOLONG):
        files.lookup(f"//{name}")


def test_chain_of_links_up_to_the_limit():
    """As many links in a row as Linux follows, and not one more."""
    files = make_files("/l0")
    for number in range(1, SYMLINK_HOPS_MAX + 2):
        files.symlink(f"l{number - 1}", f"/l{number}")
    assert files.lookup(f"/l{SYMLINK_HOPS_MAX}") is files.lookup("/l0")
    with fails(Errno.LOOP):
        files.lookup(f"/l{SYMLINK_HOPS_MAX + 1}")


def test_parent_of_a_link_is_the_parent_of_its_target():
    """`link/..` goes up from where the link leads, not from where it stands."""
    files = make_files("/a/b/c/", "/a/b/here", "/x/here")
    files.symlink("/a/b/c", "/x/link")
    assert content(files, "/x/link/../here") == b"/a/b/here"


def test_not_following():
    """The last link of a path stays a link on request; those before it never do."""
    files = make_files("/d/f")
    files.symlink("d", "/up")
    files.symlink("f", "/d/link")
    assert files.lookup("/up/link", follow=False).target == "f"
    assert files.read_link("/up/link") == "f"
    with fails(Errno.INVAL):
        files.read_link("/d/f")


# --- open ---


@pytest.mark.parametrize(
    ("path", "options", "errno"),
    [
        ("none", {}, Errno.NOENT),
        ("none", {"write": True, "truncate": True}, Errno.NOENT),
        ("none/x", {"create": True}, Errno.NOENT),
        ("f/x", {"create": True}, Errno.NOTDIR),
        ("new/", {"create": True}, Errno.ISDIR),
        ("new/.", {"create": True}, Errno.NOENT),
        ("d", {"write": True}, Errno.ISDIR),
        ("d", {"create": True}, Errno.ISDIR),
        ("d", {"truncate": True}, Errno.ISDIR),
        ("f", {"create": True, "exclusive": True}, Errno.EXIST),
        ("d", {"create": True, "exclusive": True}, Errno.EXIST),
        ("link", {"create": True, "exclusive": True}, Errno.EXIST),
        ("dangling", {"create": True, "exclusive": True}, Errno.EXIST),
        ("link", {"follow": False}, Errno.LOOP),
        ("fixed", {"write": True}, Errno.PERM),
        ("fixed", {"truncate": True}, Errno.PERM),
    ],
)
def test_open_errors(path, options, errno):
    """Opening fails as POSIX says, and makes nothing."""
    files = make_files("/f", "/d/")
    files.add(StoredFile(path="/fixed", content=b"x", read_only=True))
    files.symlink("f", "/link")
    files.symlink("later", "/dangling")
    before = (paths(files), files.file_count, files.used_bytes)
    with fails(errno):
        files.open_file(path, **options)
    assert (paths(files), files.file_count, files.used_bytes) == before


def test_creating_through_a_link():
    """Creating at a link that leads nowhere creates where it leads."""
    files = make_files("/d/")
    files.symlink("d/new", "/link")
    put(files, "/link", b"x")
    assert paths(files) == ["/d/new"]


def test_open_directory_to_read():
    """A directory can be opened to be read."""
    files = make_files("/d/")
    assert isinstance(files.open_file("/d"), Directory)


# --- content ---


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.binary(max_size=20)) | st.integers(0, 60), max_size=20
    )
)
def test_content_is_as_in_a_byte_array(steps):
    """Writes and resizes leave what they would in a row of zeros; the charge is the size."""
    files = make_files()
    file = put(files, "/f")
    model = bytearray()
    for step in steps:
        if isinstance(step, int):
            files.resize(file, step)
            model = model[:step].ljust(step, b"\0")
        else:
            offset, data = step
            assert files.write(file, offset, data) == len(data)
            if data:
                model = model.ljust(offset, b"\0")
                model[offset : offset + len(data)] = data
        assert content(files, "/f") == model
        assert files.used_bytes == len(model)
        assert file.sha256() == hashlib.sha256(model).hexdigest()


def test_reading_past_the_end():
    """At and past the end there is nothing, however far."""
    files = make_files("/abc")
    file = files.lookup("/abc")
    assert files.read(file, 2, 100) == b"bc"
    assert files.read(file, 4, 100) == b""
    assert files.read(file, 1 << 62, 1 << 62) == b""


def test_writing_nothing_far_away_does_not_extend():
    """No bytes written change neither size nor time."""
    now = Now(1)
    files = make_files("/f", now=now)
    file = files.lookup("/f")
    now.time_ns = 2
    assert files.write(file, 1 << 40, b"") == 0
    assert (file.size, file.mtime_ns) == (2, 1)


def test_times_come_from_the_clock():
    """Changing a file or a directory gives it the time of the virtual clock."""
    now = Now(1)
    files = make_files("/d/f", now=now)
    directory, file = files.lookup("/d"), files.lookup("/d/f")
    now.time_ns = 2
    files.write(file, 0, b"x")
    assert (directory.mtime_ns, file.mtime_ns) == (1, 2)
    now.time_ns = 3
    files.resize(file, 0)
    put(files, "/d/g")
    assert (directory.mtime_ns, file.mtime_ns) == (3, 3)
    now.time_ns = 4
    files.unlink("/d/g")
    assert directory.mtime_ns == 4


# --- directories ---


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("/", Errno.EXIST),
        (".", Errno.EXIST),
        ("d/..", Errno.EXIST),
        ("d/.", Errno.EXIST),
        ("f", Errno.EXIST),
        ("d", Errno.EXIST),
        ("dangling", Errno.EXIST),
        ("none/x", Errno.NOENT),
        ("none/.", Errno.NOENT),
        ("f/x", Errno.NOTDIR),
    ],
)
def test_mkdir_errors(path, errno):
    """A directory needs a new name in a directory that is there."""
    files = make_files("/f", "/d/")
    files.symlink("none", "/dangling")
    with fails(errno):
        files.make_directory(path)


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("/", Errno.EXIST),
        (".", Errno.EXIST),
        ("d/e/..", Errno.EXIST),
        ("d/e/.", Errno.EXIST),
        ("d", Errno.NOTEMPTY),
        ("f", Errno.NOTDIR),
        ("link", Errno.NOTDIR),
        ("none", Errno.NOENT),
        ("hidden", Errno.PERM),
        ("image/d", Errno.NOTEMPTY),
        ("image/d/e", Errno.NOTEMPTY),
    ],
)
def test_rmdir_errors(path, errno):
    """Only an empty directory of the guest's own goes, by its name."""
    files = make_files("/f", "/d/e/")
    files.symlink("d/e", "/link")
    files.make_hidden_directory("hidden")
    files.mount(mounted_tree({"/image/d/e/f": memoryview(b"x")}))
    with fails(errno):
        files.remove_directory(path)


def test_make_directories():
    """Parents are made on the way, what is there is fine, a file in the way is not."""
    files = make_files("/f")
    files.make_directories("/a/b/c/")
    files.make_directories("a/b/../d/.")
    assert list(files.directory("/a").entries) == ["b", "d"]
    with fails(Errno.NOTDIR):
        files.make_directories("/f")
    with fails(Errno.NOTDIR):
        files.make_directories("/f/x")


def test_depth_limit_is_the_same_for_making_and_moving():
    """The root and three below it are four; no way leads deeper."""
    files = make_files("/a/b/c/", "/x/", path_depth_max=4)
    with fails(Errno.NAMETOOLONG):
        files.make_directory("/a/b/c/d")
    with fails(Errno.NAMETOOLONG):
        files.rename("/x", "/a/b/c/x")
    with fails(Errno.NAMETOOLONG):
        files.rename("/a", "/x/a")
    files.rename("/a/b", "/x/b")
    files.rename("/a", "/x/b/a")
    assert files.directory("/x/b/a") is files.directory("/x/b/c/../a")
    put(files, "/x/b/a/f")


def test_the_shallowest_limit_still_has_the_hosts_directory():
    """A tree without any directory of the guest has the one that the host makes."""
    files = make_files(path_depth_max=1)
    files.make_hidden_directory("tmp")
    put(files, "/tmp/f")
    with fails(Errno.NAMETOOLONG):
        files.make_directory("/d")


@given(st.sets(st.text(min_size=1, max_size=4).filter(lambda n: n not in {".", ".."}), max_size=8))
def test_listing_is_sorted_by_bytes(names):
    """Names come in the order of their UTF-8 bytes, however they were made."""
    files = make_files()
    made = []
    for name in names:
        if "/" in name or "\0" in name or not name.isprintable():
            continue
        put(files, f"/{name}")
        made.append(name)
    assert files.root.names() == sorted(made, key=lambda name: name.encode())
    assert paths(files) == [f"/{name}" for name in files.root.names()]


def test_order_of_bytes_is_not_the_order_of_utf16():
    """A name beyond the basic plane sorts after one at its end."""
    files = make_files("/\U00010000", "/\uff5e", "/a", "/Z")
    assert files.root.names() == ["Z", "a", "\uff5e", "\U00010000"]


# --- removing ---


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("none", Errno.NOENT),
        ("d", Errno.ISDIR),
        ("d/.", Errno.ISDIR),
        ("/", Errno.ISDIR),
        ("d/..", Errno.ISDIR),
        ("f/", Errno.NOTDIR),
        ("fixed", Errno.PERM),
        ("image/f", Errno.PERM),
    ],
)
def test_unlink_errors(path, errno):
    """Only files and links of the guest's own go."""
    files = make_files("/f", "/d/")
    files.add(StoredFile(path="/fixed", content=b"x", read_only=True))
    files.mount(mounted_tree({"/image/f": memoryview(b"x")}))
    with fails(errno):
        files.unlink(path)


def test_unlinking_a_link_leaves_its_target():
    """A link goes by its own name."""
    files = make_files("/f")
    files.symlink("f", "/link")
    files.unlink("/link")
    assert paths(files) == ["/f"]


def test_removed_and_open():
    """An open file that was removed keeps content and charge until it is closed the last time."""
    files = make_files("/file")
    file = files.lookup("/file")
    files.opened(file)
    files.opened(file)
    files.unlink("/file")
    assert (paths(files), files.file_count, files.used_bytes) == ([], 1, 5)
    files.write(file, 5, b"more")
    assert files.used_bytes == 9
    files.closed(file)
    assert (files.file_count, files.used_bytes) == (1, 9)
    files.closed(file)
    assert (files.file_count, files.used_bytes) == (0, 0)


def test_replaced_and_open():
    """A file that another one replaced while it was open counts as a removed one."""
    files = make_files("/old", "/new!")
    file = files.lookup("/old")
    files.opened(file)
    files.rename("/new!", "/old")
    assert (files.file_count, files.used_bytes) == (2, 9)
    files.closed(file)
    assert (files.file_count, files.used_bytes) == (1, 5)


def test_closing_a_file_that_has_a_name_keeps_its_charge():
    """Closing frees nothing while a name is left."""
    files = make_files("/file")
    files.opened(files.lookup("/file"))
    files.closed(files.lookup("/file"))
    assert (files.file_count, files.used_bytes) == (1, 5)


def test_nothing_is_made_in_a_removed_directory():
    """Whoever still holds a removed directory finds it empty, without a parent, and closed."""
    files = make_files("/a/b/", "/f")
    held = files.directory("/a/b")
    files.remove_directory("/a/b")
    before = (files.file_count, files.used_bytes)
    for make in (
        lambda: files.open_file("x", start=held, create=True),
        lambda: files.make_directory("x", start=held),
        lambda: files.symlink("/f", "x", start=held),
        lambda: files.link("/f", "x", to_start=held),
        lambda: files.rename("/f", "x", to_start=held),
    ):
        with fails(Errno.NOENT):
            make()
    assert (held.entries, files.file_count, files.used_bytes) == ({}, *before)
    assert files.lookup("..", start=held) is held


# --- rename ---


@pytest.mark.parametrize(
    ("path", "to", "errno"),
    [
        ("none", "x", Errno.NOENT),
        ("f", "none/x", Errno.NOENT),
        ("f", "g/x", Errno.NOTDIR),
        ("f", "x/", Errno.NOTDIR),
        ("f", "d", Errno.ISDIR),
        ("d", "f", Errno.NOTDIR),
        ("d", "full", Errno.NOTEMPTY),
        ("full", "full/x", Errno.INVAL),
        ("full", "full/e/x", Errno.INVAL),
        ("/", "x", Errno.INVAL),
        ("d/.", "x", Errno.INVAL),
        ("f", "/", Errno.INVAL),
        ("full/e", "full", Errno.NOTEMPTY),
        ("fixed", "x", Errno.PERM),
        ("f", "fixed", Errno.PERM),
        ("hidden", "x", Errno.PERM),
        ("d", "hidden", Errno.PERM),
        ("image", "x", Errno.PERM),
        ("f", "image/x", Errno.PERM),
    ],
)
def test_rename_errors(path, to, errno):
    """A rename that cannot be leaves everything as it was."""
    files = make_files("/f", "/g", "/d/", "/full/e/")
    files.add(StoredFile(path="/fixed", content=b"x", read_only=True))
    files.make_hidden_directory("hidden")
    files.mount(mounted_tree({"/image/f": memoryview(b"x")}))
    before = (paths(files), files.file_count, files.used_bytes)
    with fails(errno):
        files.rename(path, to)
    assert (paths(files), files.file_count, files.used_bytes) == before


def test_rename_replaces():
    """A file replaces a file, a directory an empty directory; what was there is given back."""
    files = make_files("/file", "/old-file", "/d/x", "/empty/")
    files.rename("/file", "/old-file")
    files.rename("/d", "/empty")
    assert paths(files) == ["/empty/x", "/old-file"]
    assert content(files, "/old-file") == b"/file"
    assert (files.file_count, files.used_bytes) == (3, 9)
    assert files.directory("/empty/..") is files.root


def test_rename_between_names_of_one_file():
    """Renaming to another name of the same file does nothing (POSIX)."""
    files = make_files("/a")
    files.link("/a", "/b")
    files.rename("/a", "/b")
    assert paths(files) == ["/a", "/b"]


def test_rename_moves_a_link_itself():
    """A link is moved, not what it leads to, and what it leads to depends on where it stands."""
    files = make_files("/f", "/d/f")
    files.symlink("f", "/link")
    files.rename("/link", "/d/link")
    assert content(files, "/d/link") == b"/d/f"


# --- hard links ---


@pytest.mark.parametrize(
    ("path", "to", "errno"),
    [
        ("none", "x", Errno.NOENT),
        ("d", "x", Errno.PERM),
        ("fixed", "x", Errno.PERM),
        ("f", "f", Errno.EXIST),
        ("f", "none/x", Errno.NOENT),
    ],
)
def test_link_errors(path, to, errno):
    """Only files of the guest's own get another name, and only a new one."""
    files = make_files("/f", "/d/")
    files.add(StoredFile(path="/fixed", content=b"x", read_only=True))
    with fails(errno):
        files.link(path, to)


def test_every_name_is_charged():
    """A file counts whole for each of its names, when it grows, shrinks, and loses one."""
    files = make_files("/file")
    files.link("/file", "/again")
    assert (files.file_count, files.used_bytes) == (2, 10)
    files.write(files.lookup("/again"), 5, b"xyz")
    assert files.used_bytes == 16
    files.resize(files.lookup("/file"), 1)
    assert files.used_bytes == 2
    files.unlink("/file")
    assert (files.file_count, files.used_bytes) == (1, 1)
    assert content(files, "/again") == b"/"


def test_link_to_a_link():
    """A hard link to a symbolic link is one too, unless it is followed."""
    files = make_files("/file")
    files.symlink("file", "/link")
    files.link("/link", "/same")
    files.link("/link", "/followed", follow=True)
    assert files.read_link("/same") == "file"
    assert files.lookup("/followed", follow=False) is files.lookup("/file")


# --- quotas ---


def test_one_files_limit():
    """A file may be as large as the limit, however it gets there, and unchanged beyond it."""
    files = make_files("/f", file_limit_bytes=10)
    file = files.lookup("/f")
    files.resize(file, 10)
    for grow in (
        lambda: files.resize(file, 11),
        lambda: files.write(file, 10, b"x"),
        lambda: files.write(file, 1 << 60, b"x"),
    ):
        files.quota_hit = ""
        with fails(Errno.FBIG):
            grow()
        assert (files.quota_hit, file.size, files.used_bytes) == ("file_limit_bytes", 10, 10)


def test_limit_of_all_files():
    """All files together may be as large as the limit; what is given back can be used again."""
    files = make_files(files_limit_bytes=10)
    a, b = put(files, "/a", b"123456"), put(files, "/b", b"1234")
    assert files.quota_hit == ""
    for grow in (
        lambda: files.write(b, 4, b"x"),
        lambda: files.resize(a, 7),
        lambda: files.link("/a", "/c"),
    ):
        files.quota_hit = ""
        with fails(Errno.NOSPC):
            grow()
        assert (files.quota_hit, files.used_bytes, files.file_count) == ("files_limit_bytes", 10, 2)
    files.unlink("/a")
    files.write(b, 4, b"123456")


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "link"])
def test_count_limit(kind):
    """Every name counts, of whatever kind."""
    files = make_files("/f", file_count_max=2)
    make = {
        "file": lambda name: files.open_file(name, create=True),
        "directory": files.make_directory,
        "symlink": lambda name: files.symlink("f", name),
        "link": lambda name: files.link("/f", name),
    }[kind]
    make("/one")
    with fails(Errno.NOSPC):
        make("/two")
    assert files.quota_hit == "file_count_max"
    (files.remove_directory if kind == "directory" else files.unlink)("/one")
    make("/two")


def test_other_limits_hold_from_then_on():
    """New quotas are held against what comes; what is over them already stays and may shrink."""
    files = make_files("/file", file_limit_bytes=10)
    files.quota_hit = "file_limit_bytes"
    files.set_limits(make_limits(file_limit_bytes=3))
    assert files.quota_hit == ""
    file = files.lookup("/file")
    files.resize(file, 4)
    with fails(Errno.FBIG):
        files.resize(file, 5)


# --- in and out of a run ---


def test_add_replaces_and_protects():
    """The host puts files in place with their parents; a read-only one stays as it is."""
    files = make_files()
    files.add(StoredFile(path="/a/b/f", content=b"one"))
    files.add(StoredFile(path="a/b/f", content=b"2", read_only=True))
    assert list(files.files()) == [StoredFile(path="/a/b/f", content=b"2", read_only=True)]
    with fails(Errno.PERM):
        put(files, "/a/b/f")
    with fails(Errno.ISDIR):
        files.add(StoredFile(path="/", content=b""))


def test_files_come_out_sorted():
    """Files are listed by the bytes of their whole path; links and what is hidden are not."""
    files = make_files("/b", "/a/z", "/a.txt", "/a/b/c", "/empty/")
    files.symlink("b", "/link")
    files.make_hidden_directory("tmp")
    put(files, "/tmp/x")
    files.mount(mounted_tree({"/usr/lib": memoryview(b"x")}))
    assert [file.path for file in files.files()] == ["/a.txt", "/a/b/c", "/a/z", "/b"]
    assert files.root.names() == ["a", "a.txt", "b", "empty", "link"]


def test_what_is_mounted_can_be_read_only():
    """An image's files are read as any other, and refuse every change."""
    files = make_files()
    files.mount(mounted_tree({"/lib/m.py": memoryview(b"x = 1")}))
    assert content(files, "/lib/m.py") == b"x = 1"
    file = files.lookup("/lib/m.py")
    for change in (
        lambda: files.write(file, 0, b"y"),
        lambda: files.resize(file, 0),
        lambda: files.link("/lib/m.py", "/mine"),
        lambda: put(files, "/lib/new"),
        lambda: files.make_directory("/lib/new"),
        lambda: files.symlink("x", "/lib/new"),
        lambda: files.unlink("/lib/m.py"),
        lambda: files.rename("/lib/m.py", "/x"),
    ):
        with fails(Errno.PERM):
            change()
    assert (files.used_bytes, files.file_count) == (0, 0)


def test_same_steps_same_numbers():
    """Inode numbers count from one, in the order of creation."""
    files = make_files("/a", "/d/b")
    assert [files.lookup(path).inode for path in ("/", "/a", "/d", "/d/b")] == [1, 2, 3, 4]
    assert files.next_inode == 5


def test_digest_is_forgotten_when_content_changes():
    """The digest is of the content as it is now."""
    files = FileSystem(make_limits(), Now())
    file = put(files, "/f", b"one")
    assert isinstance(file, File)
    for change in (lambda: files.write(file, 0, b"two"), lambda: files.resize(file, 1)):
        file.sha256()
        change()
        assert file.sha256() == hashlib.sha256(content(files, "/f")).hexdigest()
