"""The kinds of columns that tables of a store have.

Text is ordered by its UTF-8 bytes everywhere, so that pages are the same on every database.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, String

TEXT: Final = String().with_variant(String(collation="C"), "postgresql")


def text_column(
    name: str, *args: Any, nullable: bool = False, primary_key: bool = False
) -> Column[str]:
    """Return a column of text."""
    return Column(name, TEXT, *args, nullable=nullable, primary_key=primary_key)


def number_column(name: str, *, nullable: bool = False, primary_key: bool = False) -> Column[int]:
    """Return a column of 64-bit integers that the database does not count itself."""
    return Column(name, BigInteger, nullable=nullable, primary_key=primary_key, autoincrement=False)


def byte_column(name: str, *, nullable: bool = False) -> Column[bytes]:
    """Return a column of bytes."""
    return Column(name, LargeBinary, nullable=nullable)
