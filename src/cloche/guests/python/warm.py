"""Image time: import what programs use, so that no run has to."""

import builtins
import gc
import sys

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
    sys.stdout.reconfigure(line_buffering=True)
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    _rehearse()
    gc.collect()
    gc.freeze()


def _rehearse():
    """Run a small program once: what it touches is then the same in every run, and shared."""
    from _cloche import driver, host

    jobs = [
        {
            "op": "start",
            "filename": "main.py",
            "code": "1 + 1\nf'{1}'\n",
            "argv": ["main.py"],
            "env": {},
            "cwd": "/",
            "seed": 0,
            "path": ["/"],
        }
    ]
    real_call, real_job, real_send = host._call, host.job, host.send
    host.job, host.send, host._call = jobs.pop, lambda *a: b"", lambda data: b""
    try:
        driver.turn()
    finally:
        host._call, host.job, host.send = real_call, real_job, real_send


builtins._cloche_warm = warm
