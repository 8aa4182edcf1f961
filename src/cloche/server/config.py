"""How a server is configured: every setting, and which of several places says what it is.

Pure: texts and tables are arguments. Places, from the weakest: default, configuration file (table
`serve`), environment (`CLOCHE_SERVE_` and the name in upper case; for the store also
`CLOCHE_STORE`), flags. Invariants:
- a setting that does not exist is an error that names the nearest one;
- each value of each place is checked, so that a mistake does not hide under a stronger place;
- of every value it is known where it came from.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cloche.server.errors import ConfigError

TABLE: Final = "serve"
PREFIX: Final = "CLOCHE_SERVE_"
STORE_VARIABLE: Final = "CLOCHE_STORE"
DEFAULT: Final = "default"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_DIGITS_MAX: Final = 9

_CERTIFICATE_KEYS: Final = frozenset({"hosts", "cert", "key"})

Kind = Literal["text", "flag", "count", "list", "certificates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting.

    Args:
        name: in the table, and in upper case in the environment.
        kind: what it is; lists are separated by commas in the environment. `certificates` are texts
            `NAME=CERT:KEY`, in a file also tables with `hosts`, `cert` and `key`.
        default: what it is where nothing says so.
        says: what it means.
        choices: all that it can be, where that is less than any text.
        most: the largest count.
    """

    name: str
    kind: Kind
    default: Any
    says: str
    choices: tuple[str, ...] = ()
    most: int = 0

    @property
    def flag(self) -> str:
        """The option of `cloche serve`."""
        return "--" + self.name.replace("_", "-")


SETTINGS: Final = (
    Setting(name="bind", kind="text", default="127.0.0.1:8787", says="Address to listen on."),
    Setting(name="store", kind="text", default=None, says="Path or URL; null is the user's own."),
    Setting(
        name="durability",
        kind="text",
        default="full",
        says="What survives a power cut: full, or normal.",
        choices=("full", "normal"),
    ),
    Setting(name="tools", kind="list", default=(), says="Tools of scripts, NAME=MODULE[:OBJECT]."),
    Setting(name="tls_cert", kind="text", default=None, says="Certificate chain, PEM."),
    Setting(name="tls_key", kind="text", default=None, says="Its key, PEM: a path."),
    Setting(name="tls_self_signed", kind="flag", default=False, says="A certificate made now."),
    Setting(
        name="certificates",
        kind="certificates",
        default=(),
        says="Certificates of names, NAME=CERT:KEY, beside that of the server.",
    ),
    Setting(name="insecure", kind="flag", default=False, says="Public address without TLS."),
    Setting(name="allow_net", kind="flag", default=False, says="Policies may allow outbound HTTP."),
    Setting(name="cors", kind="list", default=(), says="Pages of these origins may ask."),
    Setting(
        name="app_domain",
        kind="text",
        default="localhost",
        says="Apps answer at NAME.DOMAIN.",
    ),
    Setting(
        name="app_hostnames",
        kind="list",
        default=(),
        says="Other names that apps may have: NAME, *.NAME or TENANT=NAME.",
    ),
    Setting(
        name="public_names",
        kind="list",
        default=(),
        says="Names of the server itself, which no app gets.",
    ),
    Setting(
        name="workers",
        kind="count",
        default=None,
        says="Processes that run guests; null is one a processor, 0 none.",
        most=256,
    ),
    Setting(name="log", kind="flag", default=False, says="A line of JSON for each request."),
)
_BY_NAME: Final = {each.name: each for each in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """All settings by name, and where each value came from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]


def configure(
    *,
    table: object = None,
    path: str = "",
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
) -> Configured:
    """Return what the settings are.

    Args:
        table: `serve` of the configuration file, None where there is none.
        path: of that file, for messages.
        environ: the environment. An empty variable counts as not set.
        flags: values by name; None and empty lists count as not given.

    Raises:
        ConfigError: an unknown setting, or a value that it cannot have.
    """
    values = {each.name: each.default for each in SETTINGS}
    origins = dict.fromkeys(values, DEFAULT)
    for name, value, origin in (
        *_of_file(table, path),
        *_of_environment(environ),
        *_of_flags(flags or {}),
    ):
        values[name], origins[name] = value, origin
    return Configured(values=values, origins=origins)


def _of_file(table: object, path: str) -> list[tuple[str, Any, str]]:
    if table is None:
        return []
    if not isinstance(table, Mapping):
        raise ConfigError(where=TABLE, problem="it must be a table", origin=path)
    found = []
    for name, value in table.items():
        setting = _setting(name, f"{TABLE}.", path)
        found.append((name, _checked(setting, value, path), path))
    return found


def _of_environment(environ: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    found = []
    if environ.get(STORE_VARIABLE):
        found.append(("store", environ[STORE_VARIABLE], f"environment {STORE_VARIABLE}"))
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and environ[variable]:
            origin = f"environment {variable}"
            setting = _setting(variable.removeprefix(PREFIX).lower(), "", origin)
            value = _checked(setting, _read(setting, environ[variable]), origin)
            found.append((setting.name, value, origin))
    return found


def _of_flags(flags: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    return [
        (name, _checked(_BY_NAME[name], value, _BY_NAME[name].flag), _BY_NAME[name].flag)
        for name, value in given.items()
    ]


def _setting(name: str, before: str, origin: str) -> Setting:
    found = _BY_NAME.get(name)
    if found is None:
        near = difflib.get_close_matches(name[:100], _BY_NAME, 1)
        hint = f"did you mean {before}{near[0]}?" if near else f"there are: {', '.join(_BY_NAME)}"
        raise ConfigError(where=f"{before}{name}", problem=f"is no setting; {hint}", origin=origin)
    return found


def _read(setting: Setting, text: str) -> object:
    """Return what a variable says; text that says nothing is left to be refused."""
    if setting.kind in ("list", "certificates"):
        return [part.strip() for part in text.split(",") if part.strip()]
    if setting.kind == "flag":
        return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}.get(
            text.lower(), text
        )
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    return int(text) if setting.kind == "count" and is_number else text


def _checked(setting: Setting, value: object, origin: str) -> Any:
    expected = _expected(setting)
    if setting.kind == "flag" and isinstance(value, bool):
        return value
    if setting.kind == "text" and isinstance(value, str) and value:
        if not setting.choices or value in setting.choices:
            return value
    elif setting.kind == "list" and isinstance(value, (list, tuple)):
        if all(isinstance(each, str) and each for each in value):
            return tuple(value)
    elif setting.kind == "certificates" and isinstance(value, (list, tuple)):
        found = [_certificates(each) for each in value]
        if all(found):
            return tuple(each for some in found for each in some)
    elif setting.kind == "count" and type(value) is int and 0 <= value <= setting.most:
        return value
    raise ConfigError(
        where=f"{TABLE}.{setting.name}", problem=f"is {value!r}; it is {expected}", origin=origin
    )


def _certificates(entry: object) -> list[str]:
    """Return what an entry says as `NAME=CERT:KEY`, one for each name; nothing if it says none."""
    if isinstance(entry, str):
        name, equals, files = entry.partition("=")
        cert, colon, key = files.partition(":")
        return [entry] if equals and colon and name and cert and key and ":" not in key else []
    if not isinstance(entry, Mapping) or set(entry) != _CERTIFICATE_KEYS:
        return []
    hosts, cert, key = entry["hosts"], entry["cert"], entry["key"]
    if not isinstance(hosts, list) or not all(
        isinstance(each, str) for each in (*hosts, cert, key)
    ):
        return []
    found = [_certificates(f"{host}={cert}:{key}") for host in hosts]
    return [each for some in found for each in some] if all(found) else []


def _expected(setting: Setting) -> str:
    if setting.choices:
        return " or ".join(setting.choices)
    words = {
        "text": "a text",
        "flag": "true or false",
        "list": "a list of texts",
        "certificates": "a list of NAME=CERT:KEY, or of tables with hosts, cert and key; no path "
        "has a colon",
    }
    return words.get(setting.kind, f"a whole number from 0 to {setting.most}")
