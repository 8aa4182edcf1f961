"""Which URL opens which store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cloche.store.errors import StoreUnavailableError, StoreUrlError
from cloche.store.open import default_path, open_store


def output_of(program):
    """Return what a program prints in a process of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_path_is_a_sqlite_file(tmp_path, form):
    """As a plain path or as a URL; a URL is percent-encoded."""
    path = tmp_path / "a%20b.db"
    store = open_store(form.format(path))
    assert Path(store.url) == (tmp_path / "a b.db" if "sqlite" in form else path)
    store.close()


def test_a_path_object_is_taken_as_it_is(tmp_path):
    """A path that looks like a URL is still a path."""
    path = tmp_path / "memory:"
    store = open_store(path)
    store.close()
    assert path.exists()


def test_nothing_is_the_file_of_this_user(tmp_path, monkeypatch):
    """The default follows the rules of the system for data."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "cloche" / "cloche.db"
    store = open_store()
    store.close()
    assert default_path().exists()


@pytest.mark.parametrize(
    ("url", "shown", "problem"),
    [
        ("mysql://root:secret@host/db", "mysql:…", "its kind is not known"),
        ("sqlite:", "sqlite:…", "its kind is not known"),
        ("sqlite:///", "sqlite:///", "it has no path"),
        ("", "", "it has no path"),
        ("sqlite:///a.db?mode=ro", "sqlite:///a.db?mode=ro", "a SQLite URL takes no options"),
        (
            "postgresql://u:secret@h/d?schema=a-b",
            "postgresql://u:***@h/d?schema=a-b",
            "schema 'a-b' is no plain name",
        ),
        ("postgresql://u:secret@h:port/d", "postgresql:…", "it cannot be read"),
    ],
)
def test_other_urls_are_refused(url, shown, problem):
    """The message shows no password and says what to write."""
    with pytest.raises(StoreUrlError) as raised:
        open_store(url)
    assert raised.value.message == (
        f"cannot open the store {shown}: {problem}. Write a path, sqlite:///PATH, "
        "postgresql://USER@HOST/DATABASE, or memory:"
    )


def test_an_unknown_durability_is_refused(tmp_path):
    """A word that is none of the two opens nothing."""
    with pytest.raises(StoreUrlError):
        open_store(tmp_path / "x.db", durability="off")
    assert not (tmp_path / "x.db").exists()


def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    """A retry can help, and the password is in no message."""
    with pytest.raises(StoreUnavailableError) as raised:
        open_store(f"postgresql://u:secret@/d?host={tmp_path}")
    assert raised.value.retryable
    assert "secret" not in str(raised.value)


def test_a_server_without_a_driver_says_what_to_install():
    """Without psycopg the message names the extra."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from cloche.store.errors import StoreUrlError\n"
        "from cloche.store.open import open_store\n"
        "try: open_store('postgresql://u@h/d')\n"
        "except StoreUrlError as error: print(error.problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "psycopg is not installed: pip install 'cloche[postgres]'\n"


def test_opening_imports_no_migrations(tmp_path):
    """A store that is up to date opens without Alembic, and memory without SQLAlchemy."""
    open_store(tmp_path / "x.db").close()
    program = (
        "import sys\nfrom cloche.store.open import open_store\n"
        "open_store('memory:').close(); print('sqlalchemy' in sys.modules)\n"
        f"open_store({str(tmp_path / 'x.db')!r}).close(); print('alembic' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\nFalse\n"
