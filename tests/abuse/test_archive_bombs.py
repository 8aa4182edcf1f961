"""Attack: small data that unpacks to a lot, made and opened inside the guest."""

from __future__ import annotations

import pytest

from abuse.support import completes, exceeds, fails

MEMORY = {
    "zlib": "import zlib\nd = zlib.compress(bytes(8 << 20))\nk = [zlib.decompress(d) for _ in d]",
    "gzip": "import gzip\ngzip.decompress(gzip.compress(bytes(8 << 20)) * 20)",
    "bz2": "import bz2\nbz2.decompress(bz2.compress(bytes(4 << 20)) * 20)",
    "lzma": "import lzma\nlzma.decompress(lzma.compress(bytes(4 << 20)) * 20)",
    "zip": (
        "import io, zipfile\nb = io.BytesIO()\n"
        "with zipfile.ZipFile(b, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a', bytes(8 << 20))\n"
        "with zipfile.ZipFile(b) as z: k = [z.read('a') for _ in range(100)]"
    ),
    "pickle": (
        "import pickle\na = []\nfor _ in range(60): a = [a] * 10\n"
        "b = pickle.loads(pickle.dumps(a)); repr(b)"
    ),
    "marshal": "import marshal\nmarshal.loads(b'[' + (2**31 - 1).to_bytes(4, 'little'))",
    "a billion laughs": (
        "import xml.etree.ElementTree as E\n"
        'entities = \'\'.join(f\'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">\''
        " for i in range(9))\n"
        "E.fromstring(f'<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\">{entities}]><l>&j;</l>')"
    ),
}


@pytest.mark.parametrize("code", MEMORY.values(), ids=MEMORY.keys())
def test_unpacking_in_memory(code):
    """What is unpacked is memory as any other."""
    exceeds("memory", code, "python")


def test_unpacking_to_files():
    """What is unpacked to files counts against the quota."""
    code = """
import io, zipfile
b = io.BytesIO()
with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
    for i in range(9): z.writestr(f"a{i}", bytes(1 << 20))
zipfile.ZipFile(b).extractall("/out")
"""
    exceeds("files", code, "python", limits={"files_limit_bytes": 4 << 20})


def test_names_that_climb():
    """An archive's `..` stays below the folder that it is unpacked to."""
    code = """
import io, os, zipfile
b = io.BytesIO()
with zipfile.ZipFile(b, "w") as z: z.writestr("../../../tmp/evil", b"x")
zipfile.ZipFile(b).extractall("/out")
print([os.path.join(place, name) for place, _, names in os.walk("/") for name in names])
"""
    assert completes(code, "python") == "['/out/tmp/evil']\n"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (
            "OverflowError",
            "pickle.loads(b'\\x80\\x04\\x8e' + (1 << 40).to_bytes(8, 'little') + b'x.')",
        ),
        (
            "UnpicklingError",
            "pickle.loads(b'\\x80\\x04B' + (1 << 20).to_bytes(4, 'little') + b'x.')",
        ),
        ("EOFError", "pickle.loads(b'(' * 10**6)"),
    ],
)
def test_lengths_that_are_not_there(name, code):
    """A length that the data does not have is an error, and nothing is allocated for it."""
    fails(name, f"import pickle\n{code}", "python")


def test_a_pickle_runs_code_inside():
    """Loading a pickle runs code: in the sandbox, where nothing can be reached."""
    code = """
import os, pickle
class A:
    def __reduce__(self): return os.system, ("id",)
pickle.loads(pickle.dumps(A()))
"""
    fails("OSError", code, "python")
