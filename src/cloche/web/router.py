"""Which handler answers a path.

Owns templates and the one precedence: in each segment, from left to right, a fixed text beats a
parameter, and that beats a wildcard.
Invariants:
- two routes with one shape for one method cannot exist, so the order of registration says nothing;
- a match visits each node of the tree at most once: its time does not explode.

A template is `/users/:id/files/*path`: `:name` is one segment that is not empty, `*name` stands
last and is one or more segments, the first not empty either: a value that began with a slash would
be an absolute path to a handler that joins it to a folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from cloche.web.errors import (
    MethodNotAllowedError,
    NotFoundError,
    NotImplementedMethodError,
    RouteError,
)
from cloche.web.target import decode_path

Target = TypeVar("Target")

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
METHODS: Final = frozenset("GET HEAD POST PUT DELETE PATCH OPTIONS".split())
_STATIC_PATH: Final = re.compile(r"/[A-Za-z0-9\-_~/]*")


@dataclass(frozen=True, slots=True)
class Route(Generic[Target]):
    """One method at one template."""

    method: str
    template: str
    names: tuple[str, ...]
    target: Target


class _Node(Generic[Target]):
    """What can follow a segment."""

    __slots__ = ("fixed", "parameter", "routes", "wildcard")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node[Target]] = {}
        self.parameter: _Node[Target] | None = None
        self.wildcard: dict[str, Route[Target]] = {}  # routes by method, as `routes`
        self.routes: dict[str, Route[Target]] = {}


class Match(msgspec.Struct, Generic[Target], frozen=True):
    """A route and what its parameters are."""

    route: Route[Target]
    parameters: dict[str, str]


class Router(Generic[Target]):
    """A table of routes. Built once, then only read."""

    __slots__ = ("_methods", "_root", "_static", "routes")

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()
        self._static: dict[str, dict[str, Match[Target]]] = {}  # plain paths, looked up whole
        self._methods = set(METHODS)
        self.routes: list[Route[Target]] = []

    def add(self, method: str, template: str, target: Target) -> Route[Target]:
        """Add a route.

        Raises:
            RouteError: the template or method is malformed, or the shape is already taken.
        """
        place = f"{method} {template}"
        if _METHOD.fullmatch(method) is None or method == "CONNECT":
            raise RouteError(route=place, problem="the method is no token, or CONNECT")
        segments = _segments(place, template)
        names = tuple(segment[1:] for segment in segments if segment[:1] in {":", "*"})
        if len(set(names)) != len(names):
            raise RouteError(route=place, problem="two parameters have one name")
        route = Route(method, template, names, target)
        node = self._root
        for segment in segments:
            if segment.startswith("*"):
                taken = node.wildcard
                break
            node = _child(node, segment)
        else:
            taken = node.routes
        if method in taken:
            other = taken[method].template
            raise RouteError(route=place, problem=f"{other} already answers this shape")
        taken[method] = route
        if not names and _STATIC_PATH.fullmatch(template):
            self._static.setdefault(template, {})[method] = Match(route, {})
        self._methods.add(method)
        self.routes.append(route)
        return route

    def find(self, method: str, path: str) -> Match[Target]:
        """Return the route of a path as it arrived, and its parameters.

        HEAD is answered by GET where it has no route of its own.

        Raises:
            BadRequestError: the path is malformed.
            NotFoundError: no route has this shape.
            MethodNotAllowedError: one has, for other methods.
            NotImplementedMethodError: no route of this table has this method.
        """
        static = self._static.get(path)
        if static is not None:
            match = static.get(method)
            if match is not None:
                return match
        if method not in self._methods:
            raise NotImplementedMethodError(method=method)
        routes, values = self._look_up(path)
        route = routes.get(method) or (routes.get("GET") if method == "HEAD" else None)
        if route is None:
            raise MethodNotAllowedError(method=method, allowed=_allowed(routes))
        return Match(route, dict(zip(route.names, values, strict=True)))

    def allowed(self, path: str) -> list[str]:
        """Return the methods that a path answers, sorted; of `*` those of the server.

        Raises:
            BadRequestError: the path is malformed.
            NotFoundError: no route has this shape.
        """
        if path == "*":
            return sorted(self._methods)
        return _allowed(self._look_up(path)[0])

    def _look_up(self, path: str) -> tuple[dict[str, Route[Target]], list[str]]:
        if not path.startswith("/"):
            raise NotFoundError(path=path)
        segments = decode_path(path)
        found = _descend(self._root, segments) or _walk(self._root, segments, 0, [])
        if found is None:
            raise NotFoundError(path=path)
        return found


def _segments(place: str, template: str) -> list[str]:
    if not template.startswith("/"):
        raise RouteError(route=place, problem="the template does not begin with /")
    segments = template[1:].split("/")
    for index, segment in enumerate(segments):
        kind = segment[:1]
        if kind in {":", "*"} and _NAME.fullmatch(segment[1:]) is None:
            raise RouteError(route=place, problem=f"{segment} has no name of letters and digits")
        if kind == "*" and index != len(segments) - 1:
            raise RouteError(route=place, problem="a wildcard does not stand last")
        if segment in {".", ".."} or "?" in segment or "#" in segment:
            raise RouteError(route=place, problem=f"no path has the segment {segment}")
    return segments


def _child(node: _Node[Target], segment: str) -> _Node[Target]:
    if segment.startswith(":"):
        node.parameter = node.parameter or _Node()
        return node.parameter
    return node.fixed.setdefault(segment, _Node())


def _descend(
    node: _Node[Target], segments: tuple[str, ...]
) -> tuple[dict[str, Route[Target]], list[str]] | None:
    """Return where the first way leads that `_walk` tries; None where it has to go back."""
    values: list[str] = []
    for segment in segments:
        following = node.fixed.get(segment)
        if following is None:
            following = node.parameter
            if following is None or not segment:
                return None
            values.append(segment)
        node = following
    return (node.routes, values) if node.routes else None


def _walk(
    node: _Node[Target], segments: tuple[str, ...], index: int, values: list[str]
) -> tuple[dict[str, Route[Target]], list[str]] | None:
    if index == len(segments):
        return (node.routes, values) if node.routes else None
    segment = segments[index]
    fixed = node.fixed.get(segment)
    if fixed is not None:
        found = _walk(fixed, segments, index + 1, values)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        found = _walk(node.parameter, segments, index + 1, [*values, segment])
        if found is not None:
            return found
    rest = segments[index:]
    # A slash inside of a segment would look like a border in the value of a wildcard.
    if node.wildcard and segment and not any("/" in part for part in rest):
        return node.wildcard, [*values, "/".join(rest)]
    return None


def _allowed(routes: dict[str, Route[Target]]) -> list[str]:
    extra = {"HEAD"} if "GET" in routes else set()
    return sorted({*routes, "OPTIONS"} | extra)
