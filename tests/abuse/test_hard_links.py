"""Attack: names without number for one file, to multiply what the host keeps."""

from __future__ import annotations

from abuse.support import completes, exceeds, fails


def test_links_count_as_files():
    """A million hard links end at the file count, as a million files do."""
    code = 'import os\nopen("/a", "w").close()\nfor i in range(10**6): os.link("/a", f"/l{i}")'
    exceeds("files", code, "python", limits={"file_count_max": 500})


def test_links_to_a_large_file_charge_its_bytes():
    """Each name of a file takes its size from the quota: whoever exports it gets that much."""
    code = """
import os
open("/a", "wb").write(b"x" * (1 << 20))
for i in range(100): os.link("/a", f"/l{i}")
"""
    exceeds("files", code, "python", limits={"files_limit_bytes": 8 << 20})


def test_growing_a_linked_file_charges_every_name():
    """Linking first and writing afterwards is no way around the quota."""
    code = """
import os
open("/a", "wb").close()
for i in range(9): os.link("/a", f"/l{i}")
open("/a", "wb").write(b"x" * (1 << 20))
"""
    exceeds("files", code, "python", limits={"files_limit_bytes": 8 << 20})


def test_removed_links_give_their_charge_back():
    """Linking and unlinking for a long time takes nothing in the end."""
    code = """
import os
for i in range(300):
    open("/a", "wb").write(b"x" * 10_000)
    os.link("/a", "/b"); os.unlink("/a"); os.unlink("/b")
open("/a", "wb").write(b"x" * 40_000)
print(os.listdir("/"))
"""
    out = completes(code, "python", limits={"files_limit_bytes": 50_000, "file_count_max": 3})
    assert out == "['a']\n"


def test_files_of_the_image_cannot_be_linked():
    """A name for the standard library's archive would count on a node that all instances share."""
    code = 'import os\nos.link("/usr/local/lib/python315.zip", "/mine")'
    fails("PermissionError", code, "python")


def test_javascript_has_no_hard_links():
    """In JavaScript the operation is refused."""
    code = """
const fs = require("fs"); fs.writeFileSync("/a", "x");
for (let i = 0; i < 1e6; i++) fs.linkSync("/a", "/l" + i);
"""
    fails("Error", code, "javascript")
