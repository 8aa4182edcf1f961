"""Wrong input to the command line: one clear message on stderr, exit code 2, never a traceback."""

from __future__ import annotations

import os

import pytest
from tests.cli.support import cloche


@pytest.fixture
def folder(tmp_path):
    """A folder with files that cannot be programs."""
    (tmp_path / "latin.py").write_bytes(b"print('\xe9')")
    (tmp_path / "README").write_text("words", encoding="utf-8")
    (tmp_path / "cloche.toml").write_text("", encoding="utf-8")
    (tmp_path / "bad.toml").write_text("[guests", encoding="utf-8")
    (tmp_path / "unknown.toml").write_text("[limits.guests]\nfule = 3\n", encoding="utf-8")
    (tmp_path / "there").write_text("", encoding="utf-8")
    return tmp_path


IMAGES = "javascript, javascript+script, python, python+matplotlib, python+numpy, python+pandas"
# name: (arguments after `run`, message)
MESSAGES = {
    "no program": ([], "there is no program: give a FILE, -, or -c CODE"),
    "two programs": (["a.py", "-c", "1"], "give either a FILE or -c CODE, not both"),
    "missing file": (["none.py"], "cannot read none.py: No such file or directory"),
    "folder": (["."], "cannot read .: Is a directory"),
    "not UTF-8": (["latin.py"], "latin.py is not UTF-8: byte 7 is wrong"),
    "endless file": (
        ["/dev/zero"],
        (
            "/dev/zero has more than 1048576 bytes; `cloche limits --group guests` shows the "
            "limits and where to raise them"
        ),
    ),
    "no language": (
        ["README"],
        (
            "cannot tell the language of README: name it with --language python, javascript or "
            "typescript"
        ),
    ),
    "unknown language": (
        ["-c", "1", "-l", "ruby"],
        "cloche does not run 'ruby'; it runs javascript, typescript and python",
    ),
    "unknown image": (
        ["-c", "1", "--image", "cobol"],
        f"there is no image 'cobol'; the images are: {IMAGES}",
    ),
    "image of another language": (
        ["-c", "1", "--image", "javascript"],
        "the image javascript runs javascript, the program is python",
    ),
    "limit that is no number": (
        ["-c", "1", "--timeout", "soon"],
        (
            "the value is 'soon'; it must be a whole number of ms, or have a unit behind it: ms, "
            "s, min, h"
        ),
    ),
    "limit out of range": (
        ["-c", "1", "--memory", "1MiB"],
        (
            "guests.memory_limit_bytes is 1048576 (from the call); it must be between 16777216 and "
            "4294967296 bytes"
        ),
    ),
    "fuel out of range": (
        ["-c", "1", "--fuel", "-1"],
        "guests.fuel is -1 (from the call); it must be between 0 and 1000000000000000 instructions",
    ),
    "seed out of range": (["-c", "1", "--seed", "-1"], "seed is -1; it must be 0 to 2^64 - 1"),
    "time that is none": (
        ["-c", "1", "--now", "noon"],
        "--now 'noon' is not a time of RFC 3339, such as 2026-01-31T12:00:00Z",
    ),
    "time without zone": (
        ["-c", "1", "--now", "2026-01-31T12:00:00"],
        "--now '2026-01-31T12:00:00' has no zone; add Z or an offset such as +01:00",
    ),
    "early time": (
        ["-c", "1", "--now", "1969-12-31T23:59:59Z"],
        "now_ns is -1000000000; it must be 0 to 2^63 - 1: a time in the years 1970 to 2262",
    ),
    "environment without =": (
        ["-c", "1", "--env", "NAME"],
        "--env needs NAME=VALUE, found 'NAME'",
    ),
    "environment without name": (
        ["-c", "1", "--env", "=x"],
        "env is ''; it must be names that are not empty and hold no =, and no NUL",
    ),
    "argument that is no text": (
        ["-c", "1", "--arg", os.fsdecode(b"\xff")],
        "args is '\\udcff'; it must be valid Unicode without lone surrogates",
    ),
    "missing --file": (
        ["-c", "1", "--file", "none"],
        "cannot read none: No such file or directory",
    ),
    "missing --stdin": (
        ["-c", "1", "--stdin", "@none"],
        "cannot read none: No such file or directory",
    ),
    "input twice": (
        ["-", "--stdin", "-"],
        "standard input cannot be both the program and its input",
    ),
    "unknown world": (
        ["-c", "1", "--world", "os"],
        "--world is 'os'; it must be sandboxed or fixture",
    ),
    "cassette in the real world": (
        ["-c", "1", "--cassette", "there"],
        "--cassette goes with --world fixture",
    ),
    "journal that exists": (
        ["-c", "1", "--record", "there"],
        "there exists already; a journal is never overwritten",
    ),
    "missing configuration": (
        ["-c", "1", "--config", "none.toml"],
        "there is no configuration file none.toml; create it or do not name it",
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name, folder):
    """The message says what is wrong and what would be right; exit code 2."""
    arguments, message = MESSAGES[name]
    done = cloche("run", *arguments, cwd=folder)
    assert (done.stderr, done.exit_code, done.stdout) == (f"cloche: {message}\n", 2, "")


OTHERS = {
    "unknown option": (["run", "-c", "1", "--what"], 2, "No such option: --what"),
    "unknown command": (["frob"], 2, "No such command 'frob'."),
    "number that is none": (["run", "-c", "1", "--seed", "x"], 2, "'x' is not a valid int"),
    "bad configuration": (["run", "-c", "1", "--config", "bad.toml"], 2, "bad.toml"),
    "unknown setting": (["run", "-c", "1", "--config", "unknown.toml"], 2, "fule"),
    "cassette that is none": (
        ["run", "-c", "1", "--world", "fixture", "--cassette", "latin.py"],
        2,
        "cloche: journal is corrupt at record 0",
    ),
    "missing journal": (["replay", "none"], 2, "cloche: there is no run 'none'"),
    "unwritable journal": (
        ["run", "-c", "1", "--record", "no/where"],
        1,
        "cloche: cannot create the journal no/where: No such file or directory",
    ),
    "unwritable --out": (
        ["run", "-c", "open('f', 'w').close()", "--out", "there"],
        2,
        "cloche: cannot write there/f: ",
    ),
    "unknown image to build": (["images", "build", "cobol"], 2, "there is no image 'cobol'"),
    "unknown group": (["limits", "--group", "guest"], 2, "guest"),
    "journal of nothing": (["journal", "verify", "there"], 1, "JOURNAL_TRUNCATED"),
    "missing journal to show": (["journal", "show", "none"], 2, "cloche: there is no run 'none'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_commands(name, folder):
    """Every command has a message and no traceback for what is wrong with its input."""
    arguments, exit_code, part = OTHERS[name]
    done = cloche(*arguments, cwd=folder)
    assert part in done.stderr
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert "Traceback" not in done.stderr


def test_json_says_it_too(folder):
    """With `--json` what is wrong is one JSON object on stdout, with code and fields."""
    done = cloche("run", "-c", "1", "--seed", "-1", "--json", cwd=folder)
    assert (done.exit_code, done.stderr) == (2, "")
    assert done.document == {
        "error": {
            "code": "INVALID_RUN",
            "message": "seed is -1; it must be 0 to 2^64 - 1",
            "blame": "caller",
            "retryable": False,
            "fields": {"field": "seed", "found": "-1", "allowed": "0 to 2^64 - 1"},
        }
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(folder):
    """A file without permission is named with the reason."""
    (folder / "secret.py").write_text("1", encoding="utf-8")
    (folder / "secret.py").chmod(0)
    done = cloche("run", "secret.py", cwd=folder)
    assert done.stderr == "cloche: cannot read secret.py: Permission denied\n"
    assert done.exit_code == 2
