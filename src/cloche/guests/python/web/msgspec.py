"""A stand-in for msgspec, for applications of `cloche.web` inside the guest.

The real one is a C extension, which the guest does not have. This is the part that `cloche.web` and
its handlers use, with the same results and the same messages: `Struct`, `json`, `convert`, their
errors, `field`, `Meta`, and `structs.replace`, `asdict`, `fields`; schemas are made in
`msgspec_schema`. No other format, no hooks, no tagged unions.
"""

import base64
import binascii
import dataclasses
import datetime
import enum
import json as _json
import math
import re
import sys
import types
import typing
import uuid

import msgspec_schema

__version__ = "0"


class MsgspecError(Exception):
    """Base of the errors."""


class DecodeError(MsgspecError):
    """A text is no JSON."""


class ValidationError(DecodeError):
    """A value is not of its type; the message says where."""


class EncodeError(MsgspecError):
    """A value cannot be written."""


class _Nothing:
    def __repr__(self):
        return "NODEFAULT"


NODEFAULT = _Nothing()


class _Default:
    __slots__ = ("factory", "name", "value")

    def __init__(self, value, factory, name):
        self.value, self.factory, self.name = value, factory, name

    def make(self):
        return self.value if self.factory is None else self.factory()


def field(*, default=NODEFAULT, default_factory=None, name=None):
    """The default of a field of a Struct, and its name in JSON."""
    return _Default(default, default_factory, name)


class Meta:
    """Bounds of a value, in `Annotated[type, Meta(ge=0)]`."""

    __slots__ = (
        "ge", "gt", "le", "lt", "max_length", "min_length", "multiple_of", "pattern",
        "title", "description", "examples", "extra_json_schema",
    )  # fmt: skip

    def __init__(self, **bounds):
        for name in self.__slots__:
            setattr(self, name, bounds.pop(name, None))


# --- Struct ---


class _Options(typing.NamedTuple):
    frozen: bool = False
    kw_only: bool = False
    forbid_unknown_fields: bool = False
    omit_defaults: bool = False
    rename: object = None


class _StructType(type):
    def __new__(cls, name, bases, namespace, **options):
        return super().__new__(cls, name, bases, namespace)

    def __init__(cls, name, bases, namespace, **options):
        super().__init__(name, bases, namespace)
        before = next((base for base in bases if isinstance(base, _StructType)), None)
        inherited = before._options._asdict() if before else {}
        known = {key: value for key, value in options.items() if key in _Options._fields}
        own = {**inherited, **known}
        cls._options = _Options(**own)
        fields = dict(before._fields) if before else {}
        keywords = set(before._keywords) if before else set()
        for key in _annotated(cls):
            default = namespace.get(key, NODEFAULT)
            if key in namespace and not isinstance(default, types.MemberDescriptorType):
                delattr(cls, key)
            if type(default) in (list, dict, set, bytearray):
                default = _Default(NODEFAULT, type(default), None)
            elif not isinstance(default, _Default):
                default = _Default(default, None, None)
            fields[key] = default
            if options.get("kw_only"):
                keywords.add(key)
        cls._fields, cls._keywords = fields, keywords
        cls._hints = None
        cls.__struct_fields__ = tuple(fields)
        cls.__match_args__ = tuple(key for key in fields if key not in keywords)


def _annotated(cls):
    """The names that a class body annotates, whatever they are annotated with."""
    found = cls.__dict__.get("__annotations__")
    if found is None:
        annotate = cls.__dict__.get("__annotate__") or cls.__dict__.get("__annotate_func__")
        if annotate is None:
            return {}
        import annotationlib

        found = annotationlib.call_annotate_function(
            annotate, annotationlib.Format.FORWARDREF, owner=cls
        )
    return {key: hint for key, hint in found.items() if "ClassVar" not in str(hint)}


class Struct(metaclass=_StructType):
    """An object with the fields that its class names."""

    def __init__(self, *args, **kwargs):
        cls = type(self)
        names = cls.__match_args__
        if len(args) > len(names):
            raise TypeError("Extra positional arguments provided")
        values = self.__dict__
        for name, value in zip(names, args):
            values[name] = value
        for name, value in kwargs.items():
            if name not in cls._fields:
                raise TypeError(f"Unexpected keyword argument '{name}'")
            if name in values:
                raise TypeError(f"Argument '{name}' given by name and position")
            values[name] = value
        for name, default in cls._fields.items():
            if name in values:
                continue
            if default.value is NODEFAULT and default.factory is None:
                raise TypeError(f"Missing required argument '{name}'")
            values[name] = default.make()
        check = getattr(self, "__post_init__", None)
        if check is not None:
            check()

    def __setattr__(self, name, value):
        if type(self)._options.frozen:
            raise AttributeError(f"immutable type: '{type(self).__name__}'")
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        raise AttributeError(f"'{name}' stays")

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, key) == getattr(other, key) for key in type(self)._fields)

    def __hash__(self):
        if not type(self)._options.frozen:
            raise TypeError(f"unhashable type: '{type(self).__name__}'")
        return hash((type(self), *(getattr(self, key) for key in type(self)._fields)))

    def __repr__(self):
        shown = ", ".join(f"{key}={getattr(self, key)!r}" for key in type(self)._fields)
        return f"{type(self).__name__}({shown})"

    def __copy__(self):
        return _replace(self)

    def __reduce__(self):
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(cls, values):
    return cls(**values)


def _replace(struct, **changes):
    values = {key: getattr(struct, key) for key in type(struct)._fields}
    return type(struct)(**{**values, **changes})


def _asdict(struct):
    return {key: getattr(struct, key) for key in type(struct)._fields}


class FieldInfo(typing.NamedTuple):
    """What is known of a field."""

    name: str
    encode_name: str
    type: object
    default: object
    default_factory: object


def _field_infos(cls):
    cls = cls if isinstance(cls, type) else type(cls)
    hints = _hints_of(cls)
    return tuple(
        FieldInfo(
            key, _json_name(cls, key), hints[key], default.value, default.factory or NODEFAULT
        )
        for key, default in cls._fields.items()
    )


structs = types.ModuleType("msgspec.structs")
structs.replace, structs.asdict, structs.fields = _replace, _asdict, _field_infos
structs.FieldInfo = FieldInfo
structs.astuple = lambda struct: tuple(_asdict(struct).values())
structs.force_setattr = lambda struct, name, value: object.__setattr__(struct, name, value)


def _hints_of(cls):
    if isinstance(cls, _StructType):
        if cls._hints is None:
            cls._hints = typing.get_type_hints(cls, include_extras=True)
        return cls._hints
    return typing.get_type_hints(cls, include_extras=True)


def _json_name(cls, key):
    named = cls._fields[key].name
    if named is not None:
        return named
    rename = cls._options.rename
    if rename is None:
        return key
    if callable(rename):
        return rename(key) or key
    if isinstance(rename, dict):
        return rename.get(key, key)
    first, *rest = key.split("_")
    humps = "".join(part.capitalize() for part in rest)
    made = {"camel": first + humps, "pascal": first.capitalize() + humps,
            "kebab": key.replace("_", "-"), "lower": key.lower(), "upper": key.upper()}  # fmt: skip
    return made[rename]


# --- writing ---


def to_builtins(value, *, str_keys=False, order=None, **_options):
    """Return a value as plain data; `order` as for an encoder."""
    return _plain(value, order)


def _plain(value, order):
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind in (list, tuple):
        return [_plain(item, order) for item in value]
    if kind is dict:
        return _object_of(value, order)
    if isinstance(value, Struct):
        omits = kind._options.omit_defaults
        found = {
            _json_name(kind, key): _plain(getattr(value, key), order)
            for key, default in kind._fields.items()
            if not (
                omits and default.value is not NODEFAULT and getattr(value, key) == default.value
            )
        }
        return dict(sorted(found.items())) if order == "sorted" else found
    if isinstance(value, enum.Enum):
        return _plain(value.value, order)
    return _plain_other(value, order)


def _object_of(value, order):
    found = {_key(key): _plain(item, order) for key, item in value.items()}
    return found if order is None else dict(sorted(found.items()))


def _plain_other(value, order):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {
            one.name: _plain(getattr(value, one.name), order) for one in dataclasses.fields(value)
        }
        return dict(sorted(found.items())) if order == "sorted" else found
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (set, frozenset)):
        return [_plain(item, order) for item in (sorted(value) if order else value)]
    if isinstance(value, (datetime.datetime, datetime.time)):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict):
        return _object_of(value, order)
    if isinstance(value, (list, tuple)):
        return [_plain(item, order) for item in value]
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _key(key):
    key = _plain(key, None)
    if isinstance(key, str):
        return key
    if isinstance(key, (int, float)) and not isinstance(key, bool):
        return str(key)
    raise TypeError("Only dicts with str-like or number-like keys are supported")


class _Encoder:
    def __init__(self, *, order=None, **_options):
        self._order = order

    def encode(self, value):
        plain = _plain(value, self._order)
        return _json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


# --- reading ---

_NAMES = {
    bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", list: "array",
    tuple: "array", set: "array", frozenset: "array", dict: "object", type(None): "null",
}  # fmt: skip
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
# As True and False, but for what a text says: its keys are texts, whatever they stand for, and
# its arrays are read item by item, so nothing knows their length before their end.
_FROM_JSON, _FROM_LAX_JSON = 1, 0
_TRUE, _FALSE = {"true", "1"}, {"false", "0"}


def _found(value):
    return _NAMES.get(type(value), type(value).__name__)


def _wrong(expected, value, path):
    return ValidationError(f"Expected `{expected}`, got `{_found(value)}`{_at(path)}")


def _at(path):
    if path.startswith("key"):
        return f" - at `key` in `{path[3:]}`"
    return f" - at `{path}`" if path != "$" else ""


def _expected(hint):
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _expected(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        names = [_expected(part) for part in typing.get_args(hint)]
        names.sort(key=lambda name: name == "null")
        return " | ".join(dict.fromkeys(names))
    if origin is typing.Literal:
        return _NAMES.get(type(typing.get_args(hint)[0]), "str")
    base = origin or hint
    if isinstance(base, type):
        if issubclass(base, enum.Enum):
            return "str"
        if isinstance(base, _StructType) or dataclasses.is_dataclass(base):
            return "object"
        for known, name in _NAMES.items():
            if base is known:
                return name
    return getattr(base, "__name__", str(base))


def convert(value, type=typing.Any, *, strict=True, **_options):  # noqa: A002 - as it is named
    """Return plain data as a value of a type.

    Raises:
        ValidationError: it is none.
    """
    return _convert(value, type, "$", strict)


def _convert(value, hint, path, strict):
    if hint is typing.Any or hint is object:
        return value
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner, *extras = typing.get_args(hint)
        made = _convert(value, inner, path, strict)
        for extra in extras:
            if isinstance(extra, Meta):
                _check(made, extra, path)
        return made
    if origin in (typing.Union, types.UnionType):
        return _union(value, hint, path, strict)
    if origin is typing.Literal:
        return _literal(value, hint, path, strict)
    if origin is not None:
        return _container(value, origin, typing.get_args(hint), path, strict)
    if hint is None:
        hint = type(None)
    convert_one = _SCALARS.get(hint)
    if convert_one is not None:
        return convert_one(value, path, strict)
    if hint in (list, tuple, set, frozenset, dict):
        return _container(value, hint, (), path, strict)
    if isinstance(hint, type):
        return _object(value, hint, path, strict)
    raise TypeError(f"Type '{hint}' is not supported")


def _union(value, hint, path, strict):
    parts = typing.get_args(hint)
    if value is None and type(None) in parts:
        return None
    # The kind that fits exactly comes first: an int is no float where both are allowed.
    exact = [part for part in parts if part is type(value)]
    for part in [*exact, *parts]:
        if part is type(None) and not (isinstance(value, str) and not strict):
            continue
        try:
            return _convert(value, part, path, strict)
        except ValidationError as error:
            if _expected(part) == _found(value):
                raise
    raise _wrong(_expected(hint), value, path)


def _literal(value, hint, path, strict):
    allowed = typing.get_args(hint)
    for one in allowed:
        if type(one) is type(value) and one == value:
            return one
    if not strict and isinstance(value, str) and _INTEGER.fullmatch(value):
        if any(type(one) is int for one in allowed):
            value = int(value)
            if value in allowed:
                return value
    if type(value) not in {type(one) for one in allowed}:
        raise _wrong(_expected(hint), value, path)
    raise ValidationError(f"Invalid enum value {_shown(value)}{_at(path)}")


def _shown(value):
    return f"'{value}'" if isinstance(value, str) else repr(value)


def _bool(value, path, strict):
    if type(value) is bool:
        return value
    if not strict:
        text = value.lower() if isinstance(value, str) else str(value)
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    raise _wrong("bool", value, path)


def _int(value, path, strict):
    if type(value) is int:
        return value
    if not strict and type(value) is float and value.is_integer():
        return int(value)
    if not strict and isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise _wrong("int", value, path)


def _float(value, path, strict):
    if type(value) in (int, float):
        return float(value)
    if not strict and isinstance(value, str):
        try:
            if value == value.strip() and "_" not in value:
                return float(value)
        except ValueError:
            pass
    raise _wrong("float", value, path)


def _str(value, path, strict):
    if isinstance(value, str):
        return value
    raise _wrong("str", value, path)


def _bytes(value, path, strict):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ValidationError(f"Invalid base64 encoded string{_at(path)}") from None
    raise _wrong("bytes", value, path)


def _null(value, path, strict):
    if value is None or (not strict and isinstance(value, str) and value.lower() == "null"):
        return None
    raise _wrong("null", value, path)


def _parsed(kind, expected, parse):
    def convert_one(value, path, strict):
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise _wrong("str" if expected != "datetime" else "datetime", value, path)
        try:
            return parse(value)
        except ValueError:
            said = {"datetime": "RFC3339 encoded datetime", "date": "RFC3339 encoded date",
                    "uuid": "UUID"}[expected]  # fmt: skip
            raise ValidationError(f"Invalid {said}{_at(path)}") from None

    return convert_one


_SCALARS = {
    bool: _bool, int: _int, float: _float, str: _str, bytes: _bytes, type(None): _null,
    datetime.datetime: _parsed(datetime.datetime, "datetime", datetime.datetime.fromisoformat),
    datetime.date: _parsed(datetime.date, "date", datetime.date.fromisoformat),
    uuid.UUID: _parsed(uuid.UUID, "uuid", uuid.UUID),
}  # fmt: skip


def _container(value, origin, parts, path, strict):
    if origin is dict or origin.__name__ in ("Mapping", "MutableMapping"):
        if not isinstance(value, dict):
            raise _wrong("object", value, path)
        key_hint, item_hint = parts or (typing.Any, typing.Any)
        return {
            _convert(key, key_hint, f"key{path}", strict is True): _convert(
                item, item_hint, f"{path}[...]", strict
            )
            for key, item in value.items()
        }
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise _wrong("array", value, path)
    if origin is tuple and parts and parts[-1] is not Ellipsis:
        return _fixed(value, parts, path, strict)
    hint = parts[0] if parts else typing.Any
    items = [_convert(item, hint, f"{path}[{index}]", strict) for index, item in enumerate(value)]
    return items if origin not in (tuple, set, frozenset) else origin(items)


def _fixed(value, parts, path, strict):
    is_text = type(strict) is int
    fits = len(value) == len(parts)
    if not fits and not is_text:
        expected = f"Expected `array` of length {len(parts)}"
        raise ValidationError(f"{expected}, got {len(value)}{_at(path)}")
    found = tuple(
        _convert(item, part, f"{path}[{index}]", strict)
        for index, (item, part) in enumerate(zip(value, parts))
    )
    if not fits:
        raise ValidationError(f"Expected `array` of length {len(parts)}{_at(path)}")
    return found


def _object(value, cls, path, strict):
    if isinstance(value, cls):
        return value
    if issubclass(cls, enum.Enum):
        for member in cls:
            if type(member.value) is type(value) and member.value == value:
                return member
        if type(value) not in {type(member.value) for member in cls}:
            raise _wrong("str", value, path)
        raise ValidationError(f"Invalid enum value {_shown(value)}{_at(path)}")
    if isinstance(cls, _StructType):
        known = {_json_name(cls, key): key for key in cls._fields}
        required = {
            name
            for name, key in known.items()
            if cls._fields[key].value is NODEFAULT and cls._fields[key].factory is None
        }
        forbids = cls._options.forbid_unknown_fields
    elif dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        missing = dataclasses.MISSING
        known = {one.name: one.name for one in fields if one.init}
        required = {
            one.name for one in fields if one.default is missing and one.default_factory is missing
        }
        forbids = False
    else:
        raise TypeError(f"Type '{cls.__name__}' is not supported")
    if not isinstance(value, dict):
        raise _wrong("object", value, path)
    return _made(value, cls, known, required, forbids, path, strict)


def _made(value, cls, known, required, forbids, path, strict):
    hints, values = _hints_of(cls), {}
    for name, item in value.items():
        key = known.get(name)
        if key is not None:
            values[key] = _convert(item, hints[key], f"{path}.{name}", strict)
        elif forbids:
            raise ValidationError(f"Object contains unknown field `{name}`{_at(path)}")
    for name, key in known.items():
        if name in required and key not in values:
            raise ValidationError(f"Object missing required field `{name}`{_at(path)}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise ValidationError(f"{error}{_at(path)}") from error


def _check(value, meta, path):
    compared = (
        ("ge", ">=", lambda bound: value >= bound), ("gt", ">", lambda bound: value > bound),
        ("le", "<=", lambda bound: value <= bound), ("lt", "<", lambda bound: value < bound),
    )  # fmt: skip
    for name, sign, holds in compared:
        bound = getattr(meta, name)
        if bound is not None and value is not None and not holds(bound):
            kind = _found(value)
            raise ValidationError(f"Expected `{kind}` {sign} {bound}{_at(path)}")
    for name, sign, holds in (
        ("min_length", ">=", lambda bound: len(value) >= bound),
        ("max_length", "<=", lambda bound: len(value) <= bound),
    ):
        bound = getattr(meta, name)
        if bound is not None and not holds(bound):
            raise ValidationError(f"Expected `{_found(value)}` of length {sign} {bound}{_at(path)}")
    if meta.multiple_of is not None and value % meta.multiple_of:
        problem = f"Expected `{_found(value)}` that's a multiple of {meta.multiple_of}"
        raise ValidationError(problem + _at(path))
    if meta.pattern is not None and not re.search(meta.pattern, value):
        raise ValidationError(f"Expected `str` matching regex {meta.pattern!r}{_at(path)}")


def _no_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def _decode(text, hint, strict):
    try:
        if isinstance(text, (bytes, bytearray, memoryview)):
            text = bytes(text).decode()
        found = _json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise DecodeError(f"JSON is malformed: {error}") from None
    return _convert(found, hint, "$", _FROM_JSON if strict else _FROM_LAX_JSON)


class _Decoder:
    def __init__(self, type=typing.Any, *, strict=True, **_options):  # noqa: A002 - as it is named
        self.type, self._strict = type, strict

    def decode(self, text):
        return _decode(text, self.type, self._strict)


json = types.ModuleType("msgspec.json")
json.Encoder, json.Decoder = _Encoder, _Decoder
json.encode = lambda value, *, order=None: _Encoder(order=order).encode(value)
json.decode = lambda text, *, type=typing.Any, strict=True: _decode(text, type, strict)  # noqa: A006
json.format = lambda text, *, indent=2: _json.dumps(
    _json.loads(text), indent=indent, ensure_ascii=False
)
json.schema_components = lambda found, *, ref_template="#/$defs/{name}", schema_hook=None: (
    msgspec_schema.components(sys.modules[__name__], list(found), ref_template, schema_hook)
)
sys.modules[f"{__name__}.json"], sys.modules[f"{__name__}.structs"] = json, structs
