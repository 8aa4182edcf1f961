"""Tests of the unit of memory."""

from __future__ import annotations

from cloche.engine.pages import PAGE_BYTES

WASM_PAGE_BYTES = 65536


def test_pages_fit():
    """The memory of a guest is always a whole number of pages."""
    assert WASM_PAGE_BYTES % PAGE_BYTES == 0
