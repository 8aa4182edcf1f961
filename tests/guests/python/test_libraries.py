"""The libraries inside the guest: the standard library, and numpy, pandas, scipy, matplotlib."""

from __future__ import annotations

import struct
import zlib

import pytest

from .driver import output, run

# Large libraries take most of a minute to load on a machine that has others to serve.
pytestmark = pytest.mark.timeout(600)

# What CPython lists as standard and this build has not: for other systems, or for what a sandbox
# has not (terminals, screens, users, processes, TLS).
ABSENT = set(
    "_ctypes _curses _curses_panel _dbm _decimal _gdbm _hashlib _interpchannels _interpqueues "
    "_interpreters _ios_support _multiprocessing _overlapped _posixshmem _posixsubprocess "
    "_remote_debugging _scproxy _ssl _tkinter _uuid _winapi _wmi _zstd curses ensurepip fcntl grp "
    "idlelib msvcrt nt pty pwd readline resource ssl syslog termios tkinter tty turtle turtledemo "
    "venv winreg winsound".split()
)
SMOKE = """
import sys, warnings
warnings.simplefilter("ignore")
for name in sorted(sys.stdlib_module_names - {"antigravity", "this"}):
    try:
        __import__(name)
    except ImportError:
        print(name)
"""


def test_standard_library_imports() -> None:
    """Every module of the standard library that can be here is here; importing is silent."""
    outcome = run(SMOKE)
    assert (outcome.error, outcome.stderr) == ("", "")
    assert set(outcome.stdout.split()) == ABSENT


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            (
                "import sqlite3\nc = sqlite3.connect('/a.db')\nc.execute('create table t(x)')\n"
                "c.execute('insert into t values (42)')\nc.commit()\nc.close()\n"
                "print(sqlite3.connect('/a.db').execute('select x from t').fetchall())"
            ),
            "[(42,)]\n",
        ),
        ("import decimal\nprint(decimal.Decimal(1) / 7)", "0.1428571428571428571428571429\n"),
        (
            "import hashlib\nprint(hashlib.sha256(b'').hexdigest()[:8], hashlib.md5(b'x').name)",
            "e3b0c442 md5\n",
        ),
        (
            (
                "import datetime, zoneinfo\nt = datetime.datetime(2024, 7, 1, "
                "tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))\nprint(t.utcoffset(), t.tzname())"
            ),
            "2:00:00 CEST\n",
        ),
        (
            (
                "import gzip, bz2, lzma, zlib\nprint(*(m.decompress(m.compress(b'xx')) == b'xx' "
                "for m in (gzip, bz2, lzma, zlib)))"
            ),
            "True True True True\n",
        ),
        (
            (
                "import zipfile, tarfile, io\nb = io.BytesIO()\n"
                "with zipfile.ZipFile(b, 'w') as z: z.writestr('a', 'x')\n"
                "print(zipfile.ZipFile(b).read('a'), tarfile.open('/t.tgz', 'w:gz').name)"
            ),
            "b'x' /t.tgz\n",
        ),
        (
            (
                "import shutil, pathlib, glob\npathlib.Path('/a/b').mkdir(parents=True)\n"
                "pathlib.Path('/a/b/f').write_text('x')\nshutil.copytree('/a', '/c')\n"
                "print(glob.glob('/c/**', recursive=True))\nshutil.rmtree('/a')\n"
                "print(pathlib.Path('/a').exists())"
            ),
            "['/c/', '/c/b', '/c/b/f']\nFalse\n",
        ),
        (
            (
                "import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO')\n"
                "logging.info('x')"
            ),
            "INFO:root:x\n",
        ),
        (
            (
                "import unittest, sys, io\nclass T(unittest.TestCase):\n  def test(self): pass\n"
                "runner = unittest.TextTestRunner(stream=io.StringIO())\n"
                "r = unittest.main(exit=False, testRunner=runner)\nprint(r.result.testsRun)"
            ),
            "1\n",
        ),
        ("import doctest\nprint(doctest.testmod())", "TestResults(failed=0, attempted=0)\n"),
        (
            (
                "import dataclasses, typing, pickle\n@dataclasses.dataclass\nclass A: x: int\n"
                "print(pickle.loads(pickle.dumps(A(1))), typing.get_type_hints(A))"
            ),
            "A(x=1) {'x': <class 'int'>}\n",
        ),
        ("import csv, io\nprint(list(csv.reader(io.StringIO('a,\"b,c\"'))))", "[['a', 'b,c']]\n"),
        (
            (
                "from xml.etree import ElementTree as e\n"
                "print(e.fromstring('<a><b c=\"d\"/></a>')[0].attrib)"
            ),
            "{'c': 'd'}\n",
        ),
        (
            "import re, difflib, textwrap, string\nprint(re.sub(r'(\\w)', r'<\\1>', 'ab'))",
            "<a><b>\n",
        ),
        ("import yaml, jinja2, regex\nprint(yaml.safe_load('a: [1]'))", "{'a': [1]}\n"),
    ],
)
def test_standard_library_works(code: str, expected: str) -> None:
    """What programs use most does what it does elsewhere."""
    assert output(code) == expected


def test_numpy() -> None:
    """Arrays, linear algebra, transforms, random numbers of the seed, files."""
    code = """
import numpy as np
a = np.arange(12.0).reshape(3, 4)
print(a.sum(), (a @ a.T)[0, 0], round(np.linalg.det(np.eye(3) * 2), 6))
print(np.fft.fft([1, 0, 0, 0]).real)
print(np.linalg.norm(np.linalg.solve(np.array([[2.0, 1], [1, 3]]), [1, 2])).round(6))
np.save("/a.npy", a)
print(np.load("/a.npy").shape, np.random.default_rng(1).integers(10, size=3))
"""
    assert output(code) == ("66.0 14.0 8.0\n[1. 1. 1. 1.]\n0.632456\n(3, 4) [4 5 7]\n")


def test_numpy_randomness_is_the_seeds() -> None:
    """Unseeded generators of numpy follow the seed of the run."""
    code = "import numpy as np\nprint(np.random.rand(), np.random.default_rng().random())"
    assert output(code, seed=1) == output(code, seed=1) != output(code, seed=2)


def test_pandas() -> None:
    """Frames, groups, dates, CSV and Excel files."""
    code = """
import pandas as pd
frame = pd.DataFrame({"k": list("aab"), "v": [1, 2, 3]})
frame["t"] = pd.date_range("2024-01-31", periods=3)
print(frame.groupby("k").v.sum().to_dict(), frame.t.dt.month.tolist())
frame.to_csv("/f.csv", index=False)
print(pd.read_csv("/f.csv", parse_dates=["t"]).equals(frame.astype({"k": "str"})), end=" ")
frame.to_excel("/f.xlsx", index=False)
print(pd.read_excel("/f.xlsx").v.tolist())
print(frame.merge(frame, on="k").shape, frame.pivot_table(index="k", values="v").v.tolist())
"""
    lines = output(code).splitlines()
    assert lines[0] == "{'a': 3, 'b': 3} [1, 2, 2]"
    assert lines[1].endswith(" [1, 2, 3]")
    assert lines[2] == "(5, 5) [1.5, 3.0]"


def test_scipy() -> None:
    """Optimisation, statistics, sparse matrices, integration."""
    code = """
from scipy import integrate, optimize, sparse, stats
print(round(optimize.minimize_scalar(lambda x: (x - 2) ** 2).x, 6))
print(round(integrate.quad(lambda x: x * x, 0, 3)[0], 6), stats.norm.cdf(0))
print(sparse.eye(3).tocsr().nnz, round(optimize.brentq(lambda x: x * x - 2, 0, 2), 6))
"""
    assert output(code) == "2.0\n9.0 0.5\n3 1.414214\n"


def test_matplotlib_draws_a_png() -> None:
    """A figure is saved as a PNG that decodes, with text and colours, and without a warning."""
    code = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(2, 1), dpi=100)
axes.plot([1, 2, 3], [1, 4, 9], "r-", label="squares")
axes.set_title("title")
axes.legend()
figure.savefig("/plot.png")
plt.show()
print("saved")
"""
    outcome = run(code)
    assert (outcome.stdout, outcome.error) == ("saved\n", "")
    png = outcome.files["/plot.png"]
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert zlib.crc32(kind + body) == checksum
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height, depth, colours = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (width, height, depth, colours) == (200, 100, 8, 6)
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert len(pixels) == height * (1 + 4 * width)
    assert len(set(pixels)) > 20


def test_same_program_same_png() -> None:
    """A figure has the same bytes in every run."""
    code = "import matplotlib.pyplot as p\np.plot([1, 2])\np.savefig('/a.png')"
    assert run(code).files["/a.png"] == run(code).files["/a.png"]
