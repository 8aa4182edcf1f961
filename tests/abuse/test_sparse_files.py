"""Attack: files of no content and enormous size."""

from __future__ import annotations

import pytest

from abuse.support import exceeds, fails

PYTHON = {
    "seek and write": "f = open('/a', 'wb'); f.seek(1 << 40); f.write(b'x'); f.flush()",
    "the last offset": "f = open('/a', 'wb'); f.seek((1 << 63) - 2); f.write(b'x'); f.flush()",
    "truncate": "open('/a', 'wb').truncate(1 << 40)",
    "truncate to the last size": "open('/a', 'wb').truncate((1 << 63) - 1)",
    "pwrite": "import os; os.pwrite(os.open('/a', os.O_CREAT | os.O_RDWR), b'x', 1 << 40)",
    "many that each fit": "for i in range(10**4): open(f'/f{i}', 'wb').truncate(32 << 20)",
    "append after truncate": (
        "import os\nf = open('/a', 'ab'); f.truncate(32 << 20); f.write(b'x'); f.flush()"
    ),
}

JAVASCRIPT = {
    "write at an offset": "fs.writeSync(fs.openSync('/a', 'w'), 'x', 2 ** 40)",
    "the last offset": "fs.writeSync(fs.openSync('/a', 'w'), 'x', Number.MAX_SAFE_INTEGER)",
    "truncate": "fs.writeFileSync('/a', ''); fs.truncateSync('/a', 2 ** 40)",
    "truncate to the last size": (
        "fs.writeFileSync('/a', ''); fs.truncateSync('/a', Number.MAX_SAFE_INTEGER)"
    ),
    "many that each fit": (
        "for (let i = 0; ; i++) {\n  fs.writeFileSync('/f' + i, '');\n"
        "  fs.truncateSync('/f' + i, 1 << 25);\n}"
    ),
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_pays_for_holes(code):
    """A hole counts as the bytes that a reader would see."""
    exceeds("files", code, "python")


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_pays_for_holes(code):
    """A hole counts as the bytes that a reader would see."""
    exceeds("files", f"const fs = require('fs');\n{code}", "javascript")


@pytest.mark.parametrize("size", ["-1", "-(1 << 62)"])
def test_python_refuses_sizes_below_zero(size):
    """Such a size is an error of the program."""
    fails("OSError", f"open('/a', 'wb').truncate({size})", "python")
