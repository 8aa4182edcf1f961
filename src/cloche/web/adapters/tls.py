"""TLS of the server: version 1.3 unless the settings say 1.2, names, certificates that change.

Invariants:
- the least version is 1.3; 1.2 is opted into, with forward secrecy and authenticated ciphers alone;
- the only protocol that is agreed on is http/1.1;
- a reload is whole or not at all: where one file is wrong, all of the old ones stay;
- open connections keep what they began with.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.web.adapters.server_errors import TlsError
from cloche.web.encodings.settings import TlsServerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_PROTOCOLS: Final = ["http/1.1"]
# For TLS 1.2: ephemeral keys and authenticated encryption. TLS 1.3 has no others.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_MADE_COUNT_MAX: Final = 256  # certificates that are kept; making another takes a millisecond

MinVersion = Literal["TLS1.2", "TLS1.3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Files of PEM: the chain, own certificate first, and its key."""

    chain: Path
    key: Path


Certificate = CertificateFiles | TlsServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How a server speaks TLS.

    `certificate` is shown to whoever asks for no name that is in `names`; a name `*.example.org`
    stands for one label. `make` is asked for a certificate of a name that has none, within the
    handshake; what it returns is kept until the next reload, up to a number of names. `ciphers` are
    names of OpenSSL for TLS 1.2; none means all good ones.
    """

    certificate: Certificate
    names: Mapping[str, Certificate] = field(default_factory=dict)
    make: Callable[[str], Certificate | None] | None = None
    min_version: MinVersion = "TLS1.3"
    ciphers: Sequence[str] = ()


class TlsContexts:
    """The contexts of a server: one to listen with, and one for each certificate.

    Raises:
        TlsError: on construction; a certificate cannot be loaded.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._made: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._default, self._names = self._load()
        # Handshakes begin here and go on in the context of a certificate.
        self.context = self._new("the server", settings.certificate)
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read all certificates again. New connections get what was read.

        Raises:
            TlsError: one cannot be loaded. State: the old ones are in use.
        """
        self._default, self._names = self._load()
        self._made.clear()

    def find(self, name: str | None) -> ssl.SSLContext:
        """Return the context for the name that a client asked for."""
        if name is None:
            return self._default
        name = name.lower().rstrip(".")
        found = self._names.get(name)
        if found is None:
            found = self._names.get("*." + name.partition(".")[2])
        return found or self._new_for(name) or self._default

    def _new_for(self, name: str) -> ssl.SSLContext | None:
        """Return the context of a certificate that is made for a name, where somebody makes one."""
        found = self._made.get(name)
        if found is None and self._settings.make is not None:
            certificate = self._settings.make(name)
            if certificate is not None:
                found = self._made[name] = self._new(name, certificate)
                if len(self._made) > _MADE_COUNT_MAX:
                    self._made.popitem(last=False)
        return found

    def _choose(self, connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self.find(name)

    def _load(self) -> tuple[ssl.SSLContext, dict[str, ssl.SSLContext]]:
        default = self._new("the server", self._settings.certificate)
        names = {
            name.lower(): self._new(name, certificate)
            for name, certificate in self._settings.names.items()
        }
        return default, names

    def _new(self, subject: str, certificate: Certificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old = self._settings.min_version == "TLS1.2"
        context.minimum_version = ssl.TLSVersion.TLSv1_2 if old else ssl.TLSVersion.TLSv1_3
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(_PROTOCOLS)
        try:
            context.set_ciphers(":".join(self._settings.ciphers) or _CIPHERS)
            if isinstance(certificate, CertificateFiles):
                _check_files(subject, certificate)
                context.load_cert_chain(certificate.chain, certificate.key, password=_no_password)
            else:
                with _as_file(certificate) as path:
                    context.load_cert_chain(path, password=_no_password)
        except (OSError, ValueError) as error:
            raise TlsError(subject=subject, problem=_problem(certificate, error)) from error
        return context


def _check_files(subject: str, files: CertificateFiles) -> None:
    """Say which of the two files cannot be read; the library does not."""
    for path in (files.chain, files.key):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise TlsError(subject=subject, problem=f"{path}: {error.strerror}") from error


def _problem(certificate: Certificate, error: OSError | ValueError) -> str:
    """Return what is wrong in words; the library's own say which call failed."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the first certificate of the chain"
    if isinstance(error, ssl.SSLError) and "PEM" in f"{reason} {error}":
        where = ""
        if isinstance(certificate, CertificateFiles):
            where = f" {certificate.chain} and {certificate.key}:"
        return f"{where} the chain or the key is no PEM".strip()
    return str(reason)


def self_signed(names: Sequence[str], *, days: int = 30) -> TlsServerConfig:
    """Return a new key and a certificate that it signed itself, for tests and first steps.

    Args:
        names: names and IP addresses, the first is the subject.
        days: how long it is valid, from an hour ago.
    """
    from cryptography import x509  # noqa: PLC0415 - 30 ms, and only this function needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    begin = datetime.now(UTC) - timedelta(hours=1)
    alternatives: list[x509.GeneralName] = []
    for name in names:
        with suppress(ValueError):
            alternatives.append(x509.IPAddress(ip_address(name)))
            continue
        alternatives.append(x509.DNSName(name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return TlsServerConfig(
        certificates=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _no_password() -> str:
    # Without it OpenSSL would ask whoever sits at the terminal.
    raise ValueError("the key is encrypted; give one without a password")


@contextmanager
def _as_file(certificate: TlsServerConfig) -> Iterator[str]:
    """Lend a file with key and chain, which the library wants; in memory where that is possible."""
    content = certificate.key.rstrip() + b"\n" + certificate.certificates
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            with open(number, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.NamedTemporaryFile() as file:  # made with mode 0600
        file.write(content)
        file.flush()
        yield file.name
