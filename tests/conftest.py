"""Settings of all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says nothing about the code: machines are busy. The same code gets the
# same examples, so a failure is of the change that shows it; `make fuzz` looks for new ones.
settings.register_profile("cloche", deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("cloche")

# A suite that was started in the background has Ctrl-C ignored, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
