"""The key of secrets, where lists and secrets are kept, and sealing with that key.

Invariants:
- the key is never in the file of the secrets: it comes from `CLOCHE_SECRET_KEY` (base64, 32 bytes),
  from the file that `CLOCHE_SECRET_KEY_FILE` names, or from a file of its own beside the user's
  settings, which is made on first use and readable by its owner only;
- what is sealed is bound to a text: it cannot be opened as something else.

AES-256-GCM (NIST SP 800-38D), a random nonce of 96 bits for each value.
"""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import platformdirs

from cloche.egress.errors import NetStoreError

PATH_VARIABLE: Final = "CLOCHE_SECRET_STORE"
STORE_VARIABLE: Final = "CLOCHE_STORE"
KEY_VARIABLE: Final = "CLOCHE_SECRET_KEY"
KEY_FILE_VARIABLE: Final = "CLOCHE_SECRET_KEY_FILE"

_SQLITE: Final = "sqlite:///"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_OWNER_ONLY: Final = 0o600


def default_path(store: str | None = None) -> Path:
    """Return the file of lists and secrets.

    It is what `CLOCHE_SECRET_STORE` names, else `NAME-net.db` beside the store `NAME.db`; a store
    that is no file, such as a server, has the user's.

    Args:
        store: path or URL of a store; what `CLOCHE_STORE` names, or the user's, when None.
    """
    named = os.environ.get(PATH_VARIABLE)
    if named:
        return Path(named).expanduser()
    url = store or os.environ.get(STORE_VARIABLE) or ""
    path = Path(unquote(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else url)
    if not url or "://" in url.removeprefix(_SQLITE) or url == "memory:":
        path = Path(platformdirs.user_data_dir("cloche", appauthor=False)) / "cloche.db"
    path = path.expanduser()
    return path.with_name(f"{path.stem}-net.db")


class Sealer:
    """Seals and opens texts.

    Args:
        key: 32 bytes; found as above when None, and then only when it is needed.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key

    def seal(self, text: str, bound_to: bytes) -> bytes:
        """Return a text sealed. Raises: NetStoreError: there is no key."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self._cipher().encrypt(nonce, text.encode(), bound_to)
        return nonce + sealed

    def open(self, name: str, sealed: bytes, bound_to: bytes) -> str:
        """Return what was sealed.

        Raises:
            NetStoreError: with another key, or bound to something else. `name` says what it was.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow to import

        cipher = self._cipher()
        try:
            text: str = cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to
            ).decode()
        except (InvalidTag, ValueError):
            raise NetStoreError(
                action=f"open the secret {name!r}",
                reason="it was sealed with another key, or changed since",
            ) from None
        return text

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - slow

        if self._key is None:
            self._key = load_key()
        return AESGCM(self._key)


def load_key() -> bytes:
    """Return the key of secrets, making the user's own on first use.

    Raises:
        NetStoreError: what the environment names is no key, or cannot be read.
    """
    text = os.environ.get(KEY_VARIABLE)
    if text:
        return _key_of(text, KEY_VARIABLE)
    named = os.environ.get(KEY_FILE_VARIABLE)
    path = Path(named) if named else Path(platformdirs.user_config_dir("cloche")) / "secret.key"
    try:
        if not named and not path.exists():
            _make_key(path)
        return _key_of(path.read_text(encoding="ascii"), str(path))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise NetStoreError(action=f"read the key of secrets {path}", reason=reason) from error


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n"
    # Under another name first: a key that is half written would be a key that is lost.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()


def _key_of(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise NetStoreError(
            action="use the key of secrets",
            reason=f"{where} must hold {_KEY_BYTES} bytes as base64 "
            "(`head -c 32 /dev/urandom | base64`)",
        )
    return key
