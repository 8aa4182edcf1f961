"""Attack: output without end, on every way out."""

from __future__ import annotations

import pytest

from abuse.support import BEFORE, OUTPUT_LIMIT_BYTES, exceeds

PYTHON = {
    "print": "while True: print('x' * 1000)",
    "one print": "print('x' * 10**7)",
    "single characters": "import sys\nwhile True: sys.stdout.write('x'); sys.stdout.flush()",
    "a descriptor": "import os\nwhile True: os.write(1, b'x' * 1000)",
    "the buffer": "import sys\nwhile True: sys.stdout.buffer.write(b'x' * 1000)",
    "stderr": "import sys\nwhile True: print('x' * 1000, file=sys.stderr)",
    "warnings": "import warnings\nwarnings.simplefilter('always')\nwhile True: warnings.warn('x')",
    "a huge error": "raise ValueError('x' * 10**6)",
    "an error of many lines": "raise ExceptionGroup('x' * 10**4, [ValueError('x' * 10**4)] * 100)",
    "both by turns": ("import sys\nwhile True: print('x' * 99); print('x' * 99, file=sys.stderr)"),
}

JAVASCRIPT = {
    "console.log": "for (;;) console.log('x'.repeat(1000))",
    "one console.log": "console.log('x'.repeat(1e7))",
    "process.stdout": "for (;;) process.stdout.write('x')",
    "a descriptor": "const fs = require('fs'); for (;;) fs.writeSync(1, 'x'.repeat(1000))",
    "console.error": "for (;;) console.error('x'.repeat(1000))",
    "a huge error": "throw new Error('x'.repeat(1e6))",
}


def assert_all_that_fits_is_kept(result):
    """Assert that exactly the limit was delivered, over both streams."""
    kept = len(result.run.stdout) + len(result.run.stderr)
    assert kept == OUTPUT_LIMIT_BYTES
    assert result.run.stdout.startswith(BEFORE)


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_is_stopped_at_the_limit(code):
    """The limit is one for both streams, and what fits is kept to the last byte."""
    assert_all_that_fits_is_kept(exceeds("output", code, "python"))


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_is_stopped_at_the_limit(code):
    """The limit is one for both streams, and what fits is kept to the last byte."""
    assert_all_that_fits_is_kept(exceeds("output", code, "javascript"))
