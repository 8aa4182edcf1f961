"""Image time: import what programs use, so that no run has to."""

import array
import builtins
import functools
import gc
import sys
import types

# What code refers to, which the collector does not know. Its other fields are made when asked for.
_CODE_FIELDS = (
    "co_consts co_names co_filename co_name co_qualname co_linetable co_exceptiontable".split()
)

_HOLE_BYTES_MAX = 1 << 20
_SMALL_BYTES_MAX = 512  # the interpreter keeps blocks up to this size in pools of one size
_ROW_COUNT = 16  # as many blocks in a row are no holes
_REHEARSAL_COUNT = 4  # by then the interpreter has specialized what every run executes

_BASE = (
    "abc argparse array ast base64 bisect calendar cmath codecs collections collections.abc "
    "concurrent.futures contextlib copy csv dataclasses datetime decimal difflib email.message "
    "enum fractions functools glob hashlib heapq hmac html html.parser http.client inspect io "
    "ipaddress itertools json keyword linecache locale logging math numbers operator os os.path "
    "pathlib pickle platform pprint queue random re reprlib secrets shlex shutil signal stat "
    "statistics string struct subprocess sys tempfile textwrap threading time timeit traceback "
    "types typing unicodedata unittest urllib.error urllib.parse urllib.request uuid warnings "
    "weakref xml.etree.ElementTree zipfile zlib zoneinfo"
).split()


def _import(names):
    for name in names:
        try:
            __import__(name)
        except ImportError:
            # Not in this build of Python; the program that needs it gets the same error.
            pass


def _numpy():
    import numpy

    numpy.linalg.inv(numpy.eye(3))
    numpy.random.default_rng
    repr(numpy.arange(3) / 2)


def _pandas():
    _numpy()
    import io

    import pandas

    frame = pandas.DataFrame({"a": [1, 1, 2], "b": [1.5, 2.5, 3.5]})
    frame.groupby("a").sum()
    pandas.read_csv(io.StringIO("a,b\n1,2\n"))
    frame.to_string()
    frame.describe()
    pandas.to_datetime(["2020-01-01"])


def _matplotlib():
    _pandas()
    import io
    import os

    os.environ["MPLCONFIGDIR"] = "/tmp"
    os.environ["MPLBACKEND"] = "Agg"
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3], label="line")
    axes.set_title("title")
    axes.legend()
    figure.savefig(io.BytesIO(), format="png")
    pyplot.close("all")


_VARIANTS = {
    "base": lambda: None,
    "numpy": _numpy,
    "pandas": _pandas,
    "matplotlib": _matplotlib,
}


def warm(variant):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import(_BASE)
        _VARIANTS[variant]()
    sys.modules["_cloche.output"].install()
    for _ in range(_REHEARSAL_COUNT):
        _rehearse()
    sys.modules["_cloche.driver"].take_jobs(sys._getframe(2).f_globals)
    gc.collect()
    _fill_holes()
    gc.freeze()


_fillers = []


def _fill_holes():
    """Use up what is free between objects: what a run makes then lies side by side."""
    top = id(bytearray(_HOLE_BYTES_MAX))
    size = 1 << 15
    while size > _SMALL_BYTES_MAX:
        while id(block := bytes(size)) < top:
            _fillers.append(block)
        size -= size // 8
    header = sys.getsizeof(b"")
    makers = [functools.partial(bytes, n - header) for n in range(24, _SMALL_BYTES_MAX + 1, 8)]
    for make in [object, *makers]:
        before, row = 0, 0
        while row < _ROW_COUNT:
            block = make()
            _fillers.append(block)
            row = row + 1 if 0 < id(block) - before <= 2 * sys.getsizeof(block) else 0
            before = id(block)


def _rehearse():
    """Run a small program once: what it touches is then the same in every run, and shared."""
    import json

    from _cloche import driver, host

    job = {
        "op": "start",
        "filename": "main.py",
        "code": "1 + 1\nf'{1}'\n",
        "argv": ["main.py"],
        "env": {},
        "cwd": "/",
        "seed": 0,
        "path": ["/"],
    }
    real_call, real_send = host._call, host.send
    host.send, host._call = lambda *a: b"", lambda data: b""
    try:
        driver.turn(json.dumps(job))
    finally:
        host._call, host.send = real_call, real_send


def seal():
    """Tell the host where everything is that was made: it stays for good.

    The host makes all of it immortal, so that nobody counts its references, and forgets what this
    function did to the memory. So nothing may be told of that did not exist before.
    """
    from _cloche import host

    young = gc.get_objects()  # made since the rest was frozen
    gc.unfreeze()
    found = gc.get_objects()
    seen = {id(young), *map(id, young)}
    kept = [one for one in found if id(one) not in seen]
    seen.update(map(id, kept))
    for one in kept:
        if isinstance(one, types.CodeType):
            inside = [getattr(one, name) for name in _CODE_FIELDS]
        else:
            inside = gc.get_referents(one)
        for other in inside:
            if id(other) not in seen:
                seen.add(id(other))
                kept.append(other)
    host._call(bytes((host.SEAL,)) + array.array("I", map(id, kept)).tobytes())


builtins._cloche_seal = seal
builtins._cloche_warm = warm
# 1
# 2
# 3
