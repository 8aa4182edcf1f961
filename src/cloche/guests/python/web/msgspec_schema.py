"""JSON schemas of types, for the stand-in of msgspec: what it can read, in the real one's words.

`msgspec.json.schema_components` alone; types that the stand-in does not know go to the hook.
"""

import dataclasses
import datetime
import decimal
import enum
import re
import types
import typing
import uuid

_SCALARS = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    bytearray: {"type": "string", "contentEncoding": "base64"},
    type(None): {"type": "null"},
    datetime.datetime: {"type": "string"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string"},
    datetime.timedelta: {"type": "string", "format": "duration"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": "string", "format": "decimal"},
}
_BOUNDS = (
    ("ge", "minimum"),
    ("gt", "exclusiveMinimum"),
    ("le", "maximum"),
    ("lt", "exclusiveMaximum"),
    ("multiple_of", "multipleOf"),
    ("pattern", "pattern"),
)
_SAID = ("title", "description", "examples")
_SETS = (set, frozenset)
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9.\-_]")


def components(lib, hints, ref_template, schema_hook):
    """Return the schema of each type, and those that they refer to, by name.

    Args:
        lib: the stand-in.
        hints: the types.
        ref_template: has `{name}`.
        schema_hook: returns the schema of a class that is not known; None where there is none.
    """
    maker = _Maker(lib, ref_template, schema_hook)
    for hint in hints:
        maker.find(hint)
    maker.choose_names()
    return tuple(maker.of(hint) for hint in hints), maker.named()


class _Maker:
    def __init__(self, lib, ref_template, schema_hook):
        self._lib, self._template, self._hook = lib, ref_template, schema_hook
        self._names = {}  # by class, in the order in which they were met

    # --- which classes there are ---

    def find(self, hint):
        """Meet the classes of a type."""
        parts = typing.get_args(hint)
        if typing.get_origin(hint) is typing.Literal:
            return
        if self._is_named(hint):
            if hint in self._names:
                return
            self._names[hint] = hint.__name__
            if not issubclass(hint, enum.Enum):
                for _, inner, _ in self._fields(hint):
                    self.find(inner)
        for part in parts[:1] if typing.get_origin(hint) is typing.Annotated else parts:
            self.find(part)

    def _is_named(self, hint):
        return (
            isinstance(hint, type)
            and typing.get_origin(hint) is None
            and (issubclass(hint, (enum.Enum, self._lib.Struct)) or dataclasses.is_dataclass(hint))
        )

    def choose_names(self):
        """Give classes of one name the names of their modules, too."""
        names = list(self._names.values())
        for cls, name in self._names.items():
            if names.count(name) > 1:
                whole = f"{cls.__module__}.{cls.__qualname__}"
                self._names[cls] = _NOT_IN_NAMES.sub("_", whole)

    def named(self):
        """Return the schemas of all classes, by name."""
        return {name: self._of_class(cls) for cls, name in self._names.items()}

    # --- schemas ---

    def of(self, hint):
        """Return the schema of a type, or the reference to it."""
        if hint is typing.Any:
            return {}
        if hint is None:
            hint = type(None)
        origin, parts = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return self._bounded(parts[0], parts[1:])
        if origin in (typing.Union, types.UnionType):
            # What may be missing is said last.
            some = sorted(parts, key=lambda part: part is type(None))
            return {"anyOf": [self.of(part) for part in some]}
        if origin is typing.Literal:
            return {"enum": sorted(parts, key=_rank)}
        if hint in self._names:
            return {"$ref": self._template.format(name=self._names[hint])}
        if hint in _SCALARS:
            return dict(_SCALARS[hint])
        found = self._container(origin or hint, parts)
        if found is not None:
            return found
        if self._hook is None or not isinstance(hint, type):
            raise TypeError(f"Generating JSON schema for type {hint!r} is unsupported")
        return self._hook(hint)

    def _container(self, kind, parts):
        if not isinstance(kind, type):
            return None
        if kind is dict or kind.__name__ in ("Mapping", "MutableMapping"):
            return self._object(parts)
        if kind is tuple and parts[-1:] != (Ellipsis,) and parts:
            found = {"type": "array", "minItems": len(parts), "maxItems": len(parts)}
            return {**found, "prefixItems": [self.of(part) for part in parts], "items": False}
        if kind not in (list, tuple, *_SETS) and kind.__name__ not in (
            "Sequence", "MutableSequence", "Collection", "Set", "MutableSet",
        ):  # fmt: skip
            return None
        found = {"type": "array"}
        if parts and parts[0] is not typing.Any:
            found["items"] = self.of(parts[0])
        if kind in _SETS or kind.__name__ in ("Set", "MutableSet"):
            found["uniqueItems"] = True
        return found

    def _object(self, parts):
        found = {"type": "object"}
        if parts:
            names = self.of(parts[0])
            bounds = {key: names[key] for key in ("minLength", "maxLength", "pattern")
                      if key in names}  # fmt: skip
            if bounds:
                found["propertyNames"] = bounds
            if parts[1] is not typing.Any:
                found["additionalProperties"] = self.of(parts[1])
        return found

    def _bounded(self, inner, extras):
        found, said = self.of(inner), {}
        for meta in extras:
            if not isinstance(meta, self._lib.Meta):
                continue
            said |= {key: getattr(meta, key) for key in _SAID if getattr(meta, key) is not None}
            said |= meta.extra_json_schema or {}
            for key, name in _BOUNDS:
                if getattr(meta, key) is not None:
                    found[name] = getattr(meta, key)
            for key, word in (("min_length", "min"), ("max_length", "max")):
                bound = getattr(meta, key)
                if bound is not None:
                    name, bound = _length(found, word, bound)
                    found[name] = bound
        return {**said, **found}

    # --- classes ---

    def _of_class(self, cls):
        found = {"title": cls.__name__}
        text = cls.__dict__.get("__doc__")
        # A dataclass without a text gets its signature for one.
        if text and not (dataclasses.is_dataclass(cls) and text.startswith(f"{cls.__name__}(")):
            found["description"] = text.strip()
        if issubclass(cls, enum.Enum):
            return {**found, "enum": sorted((member.value for member in cls), key=_rank)}
        properties, required = {}, []
        for name, hint, default in self._fields(cls):
            properties[name] = self.of(hint)
            if default is _MISSING:
                required.append(name)
            elif default is not _MADE:
                properties[name]["default"] = self._lib.to_builtins(default)
        found |= {"type": "object", "properties": properties, "required": required}
        if issubclass(cls, self._lib.Struct) and cls._options.forbid_unknown_fields:
            found["additionalProperties"] = False
        return found

    def _fields(self, cls):
        """Yield name, type and default of each field."""
        if issubclass(cls, self._lib.Struct):
            for one in self._lib.structs.fields(cls):
                if one.default is not self._lib.NODEFAULT:
                    yield one.encode_name, one.type, one.default
                elif one.default_factory is self._lib.NODEFAULT:
                    yield one.encode_name, one.type, _MISSING
                elif one.default_factory in (list, dict, set, bytearray):
                    yield one.encode_name, one.type, one.default_factory()
                else:
                    yield one.encode_name, one.type, _MADE
            return
        hints = typing.get_type_hints(cls, include_extras=True)
        for one in dataclasses.fields(cls):
            if one.default is not dataclasses.MISSING:
                yield one.name, hints[one.name], one.default
            elif one.default_factory is not dataclasses.MISSING:
                yield one.name, hints[one.name], _MADE
            else:
                yield one.name, hints[one.name], _MISSING


_MISSING, _MADE = object(), object()  # no default; one that is made when it is needed


def _length(schema, word, bound):
    """Return what the bound of a length is called, and is, for a schema."""
    kind = schema.get("type")
    if "contentEncoding" in schema:
        return f"{word}Length", 4 * ((bound + 2) // 3)
    names = {"array": f"{word}Items", "object": f"{word}Properties"}
    return names.get(kind, f"{word}Length"), bound


def _rank(value):
    """Sort nothing before numbers, and those before texts."""
    return (value is not None, isinstance(value, str), value if value is not None else 0)
