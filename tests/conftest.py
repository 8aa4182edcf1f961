"""Settings of all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says nothing about the code: machines are busy.
settings.register_profile("cloche", deadline=None)
settings.load_profile("cloche")

# A suite that was started in the background has Ctrl-C ignored, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
