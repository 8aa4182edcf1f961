"""Addresses as people write them, and the sockets that listen there.

    127.0.0.1:8000    [::1]:8000    :8000 (all of IPv4)    unix:/run/app.sock
    fd:3              systemd:      systemd:NAME (sockets that were handed over)

Invariants:
- a name is never looked up: what listens is an address that was written down;
- a socket file is taken over only where nobody answers on it, and removed only while it is ours;
- everything is opened or nothing is.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cloche.web.adapters.server_errors import BindError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKLOG: Final = 2048  # the kernel takes the smaller of this and its own
_PORT_MAX: Final = 65_535
_FIRST_FD: Final = 3  # of those that systemd hands over: sd_listen_fds(3)
_UNIX_MODE: Final = 0o660
_PROBE_S: Final = 1.0

Kind = Literal["tcp", "unix", "fd", "systemd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """An address to listen on. `host` is an IP address, a path, or the name of a socket."""

    kind: Kind
    host: str
    port: int = 0

    def __str__(self) -> str:
        if self.kind != "tcp":
            return f"{self.kind}:{self.host or self.port or ''}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind(text: str) -> Bind:
    """Return the address that a text means.

    Raises:
        BindError: it means none.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        if not rest or "\0" in rest:
            raise BindError(address=text, problem="expected a path after unix:")
        return Bind(kind="unix", host=rest)
    if kind == "systemd":
        return Bind(kind="systemd", host=rest)
    if kind == "fd":
        if not rest.isdecimal():
            raise BindError(address=text, problem="expected a number after fd:")
        return Bind(kind="fd", host="", port=int(rest))
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or not port.isascii() or int(port) > _PORT_MAX:
        raise BindError(address=text, problem="expected ADDRESS:PORT, as 127.0.0.1:8000")
    host = host or "0.0.0.0"  # noqa: S104 - written as `:8000` on purpose
    if host == "localhost":
        host = "127.0.0.1"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        problem = "the host is no IP address; names are not looked up"
        raise BindError(address=text, problem=problem) from None
    if (address.version == 6) != (bare != host):  # noqa: PLR2004 - IP version
        raise BindError(address=text, problem="an IPv6 address stands in brackets, no other does")
    return Bind(kind="tcp", host=str(address), port=int(port))


def open_sockets(
    binds: Sequence[Bind], *, reuse_port: bool = False, environment: Mapping[str, str] | None = None
) -> list[socket.socket]:
    """Return sockets that listen, for each address in order; a name of systemd can have several.

    Raises:
        BindError: one cannot be opened. State: none is open.
    """
    found: list[socket.socket] = []
    try:
        for bind in binds:
            if bind.kind == "tcp":
                found.append(_open_tcp(bind, reuse_port=reuse_port))
            elif bind.kind == "unix":
                found.append(_open_unix(bind))
            elif bind.kind == "fd":
                found.append(_adopt(bind, bind.port))
            else:
                environment = os.environ if environment is None else environment
                found += [_adopt(bind, number) for number in systemd_numbers(bind, environment)]
    except BaseException:
        for each in found:
            close_socket(each)
        raise
    return found


def systemd_numbers(bind: Bind, environment: Mapping[str, str]) -> list[int]:
    """Return the numbers of the files that systemd handed over, by name if one is given.

    Raises:
        BindError: there are none for this process.

    Source: sd_listen_fds(3).
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        raise BindError(address=str(bind), problem="no sockets were handed to this process")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    numbers = [
        _FIRST_FD + index
        for index in range(int(count))
        if not bind.host or names[index : index + 1] == [bind.host]
    ]
    if not numbers:
        raise BindError(address=str(bind), problem="no socket that was handed over has this name")
    return numbers


def close_socket(listener: socket.socket) -> None:
    """Close a socket that listens; a socket file that is ours is removed."""
    if listener.family == getattr(socket, "AF_UNIX", None):
        with suppress(OSError):
            _remove_own(listener)
    listener.close()


def address_of(listener: socket.socket) -> str:
    """Return the address of a socket as `parse_bind` reads it."""
    found = listener.getsockname()
    if isinstance(found, tuple):
        return str(Bind(kind="tcp", host=found[0], port=found[1]))
    return f"unix:{os.fsdecode(found)}"


def _open_tcp(bind: Bind, *, reuse_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((bind.host, bind.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise BindError(address=str(bind), problem=error.strerror or str(error)) from error
    return listener


def _open_unix(bind: Bind) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(bind)
        listener.bind(bind.host)
        os.chmod(bind.host, _UNIX_MODE)  # noqa: PTH101 - a socket file is no path object's affair
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise BindError(address=str(bind), problem=error.strerror or str(error)) from error
    except BindError:
        listener.close()
        raise
    return listener


def _remove_stale(bind: Bind) -> None:
    try:
        found = os.lstat(bind.host)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(address=str(bind), problem="a file that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(bind.host)
        except ConnectionRefusedError:
            os.unlink(bind.host)  # noqa: PTH108 - as above
            return
    raise BindError(address=str(bind), problem="somebody listens there already")


def _remove_own(listener: socket.socket) -> None:
    """Remove the file of a socket, unless another one has taken its place."""
    path = os.fsdecode(listener.getsockname())
    if not path or path.startswith("\0"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        listener.close()
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 - as above
        except BlockingIOError:
            pass


def _adopt(bind: Bind, number: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=os.dup(number))
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise BindError(address=str(bind), problem=error.strerror or str(error)) from error
    if not listening:
        listener.close()
        raise BindError(address=str(bind), problem="the socket does not listen")
    listener.setblocking(False)
    return listener
