"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says nothing about the code: machines are busy.
settings.register_profile("cloche", deadline=None)
settings.load_profile("cloche")
