"""Texts that a client keeps and cannot change: signed, dated, for one purpose.

Invariants:
- a text that was signed for one purpose is nothing for another;
- the newest key signs, every key of the ring is accepted, so keys can be replaced while old texts
  are still out there;
- checking takes the same time whether a signature is nearly right or not at all.

What is signed can be read by whoever has it: it is not encrypted.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from cloche.web.errors import SettingError

KEY_SIZE_MIN: Final = 32
_TEXT_LIMIT: Final = 8192
_PART_COUNT: Final = 3


class KeyRing:
    """Keys that sign, the newest first. Not shown in `repr`.

    Raises:
        SettingError: on construction; no key, or one that is shorter than 32 bytes.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        if not keys or any(len(key) < KEY_SIZE_MIN for key in keys):
            raise SettingError(setting="keys", problem="each key has at least 32 random bytes")
        self._keys = keys

    def sign(self, purpose: str, payload: bytes, *, now_s: int) -> str:
        """Return `payload.time.signature`, each in URL-safe base64 or decimal."""
        signed = f"{_encode(payload)}.{now_s}"
        return f"{signed}.{_encode(_mac(self._keys[0], purpose, signed))}"

    def open(self, purpose: str, text: str, *, now_s: int, max_age_s: int) -> bytes | None:
        """Return the payload of a text, or None: forged, malformed, too old, or from the future."""
        parts = text.split(".") if len(text) <= _TEXT_LIMIT and text.isascii() else []
        if len(parts) != _PART_COUNT or not parts[1].isdecimal():
            return None
        signed, mac = f"{parts[0]}.{parts[1]}", _decode(parts[2])
        if mac is None or len(parts[1]) > len(str(1 << 63)):
            return None
        matches = [hmac.compare_digest(_mac(key, purpose, signed), mac) for key in self._keys]
        age_s = now_s - int(parts[1])
        return _decode(parts[0]) if any(matches) and 0 <= age_s <= max_age_s else None


def _mac(key: bytes, purpose: str, signed: str) -> bytes:
    # The length of the purpose keeps `a` + `bc` apart from `ab` + `c`.
    return hmac.digest(key, f"{len(purpose)}.{purpose}.{signed}".encode("ascii"), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return data if _encode(data) == text else None
