"""The metadata of every limit as a document: what a form or a client needs to show and check one.

Same nesting as the values. Built once, kept as bytes.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TypedDict

from cloche.limits.limits import SPECIFICATIONS


class _LimitSchema(TypedDict):
    label: str
    desc: str
    read_only: bool


class LimitSchema(_LimitSchema, total=False):
    """One leaf. A count has no `unit`; a reading or an estimate has no `min` and `max`."""

    unit: str
    min: int
    max: int


def to_schema() -> dict[str, dict[str, LimitSchema]]:
    """Return the schema, `{group: {name: leaf}}`, in the order of declaration."""
    document: dict[str, dict[str, LimitSchema]] = {}
    for spec in SPECIFICATIONS.values():
        leaf = LimitSchema(label=spec.label, desc=spec.description, read_only=spec.read_only)
        if spec.unit != "count":
            leaf["unit"] = spec.unit
        if spec.minimum is not None and spec.maximum is not None:
            leaf["min"], leaf["max"] = spec.minimum, spec.maximum
        document.setdefault(spec.group, {})[spec.name] = leaf
    return document


@cache
def schema_bytes() -> bytes:
    """Return the schema as JSON (UTF-8, one line). Built on first use."""
    return json.dumps(to_schema(), separators=(",", ":")).encode()
