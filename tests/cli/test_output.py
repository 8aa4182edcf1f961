"""Tests of the tables that commands print."""

from __future__ import annotations

import pytest

from cloche.cli.output import table

ID, RUN = "0123456789ab", "f" * 32
COLUMNS = ["id", "tool", "arguments", "left", "detached", "run", "until (UTC)"]
ROW = [ID, "write", '{"path":"a"}', "3", "", RUN, "2026-11-21 18:00:00"]


@pytest.fixture
def printed(monkeypatch, capsys):
    """Return what a table is in a terminal of some width."""

    def show(width, **options):
        monkeypatch.setenv("COLUMNS", str(width))
        table("approvals", COLUMNS, [ROW, ROW], **options)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", [64, 72, 80, 100, 140])
def test_what_people_copy_is_whole(printed, width):
    """In a narrow terminal other columns are folded or left out; no line is too long."""
    shown = printed(width, whole={"id", "run"})
    assert (shown.count(ID), shown.count(RUN)) == (2, 2)
    assert max(map(len, shown.splitlines())) <= width


def test_what_is_left_out_is_said(printed):
    """The last columns go first, and only where there is no room."""
    assert "Too narrow" not in printed(140, whole={"id", "run"})
    narrow = printed(80, whole={"id", "run"})
    assert "Too narrow for: detached, until (UTC). --json shows all." in narrow
    assert "write" in narrow


def test_a_table_that_nobody_copies_from_is_folded(printed):
    """All its columns are there."""
    shown = printed(60)
    assert "Too narrow" not in shown
    assert RUN not in shown


def test_a_terminal_without_room_for_anything_folds(printed):
    """What cannot be whole is there all the same."""
    shown = "".join(printed(40, whole={"id", "run"}).split())
    assert shown.count("f") > 32
