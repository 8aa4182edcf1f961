"""In which worlds may a node run?

A node may be in a world only if everything it imports for a run is. An app is the one exception: it
chooses an adapter per world, so it may import an adapter that one of its worlds does not have,
provided that for every port of that adapter it also imports an adapter that the world does have.
Each binding of an app is judged on its own: one complete port does not excuse another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.arch.documents import DOCUMENT_PATHS, Node
from cloche.arch.findings import Finding
from cloche.arch.jsonpatch import Patch, remove_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.arch.subject import Subject

_GRAPH = DOCUMENT_PATHS["graph"]
_ADAPTERS = ("adapter-fixture", "adapter-os")


def check_worlds(subject: Subject) -> Iterator[Finding]:
    """Yield every edge that leads out of a world that its importer is allowed in."""
    for pair in subject.pairs:
        if not subject.runs(pair):
            continue
        importer, imported = subject.nodes[pair[0]], subject.nodes[pair[1]]
        ports = _ports(subject, imported)
        for world in importer.worlds_allowed:
            if world in imported.worlds_allowed:
                continue
            if importer.kind == "app" and ports:
                yield from _check_binding(subject, importer, imported, world)
            else:
                yield _forbidden(subject, importer, imported, world)


def _ports(subject: Subject, node: Node) -> list[str]:
    """Return the ports that an adapter implements: those it imports, for types alone or not."""
    if node.kind not in _ADAPTERS:
        return []
    imported = (target for importer, target in subject.pairs if importer == node.id)
    return [target for target in imported if subject.nodes[target].kind == "port"]


def _check_binding(subject: Subject, app: Node, adapter: Node, world: str) -> Iterator[Finding]:
    """Look in the world for another adapter of each port that the adapter implements."""
    bound = {
        port
        for importer, target in subject.pairs
        if importer == app.id and world in subject.nodes[target].worlds_allowed
        for port in _ports(subject, subject.nodes[target])
    }
    for port in _ports(subject, adapter):
        if port not in bound:
            yield Finding(
                code="E_ARCH_WORLD_UNBOUND",
                message=f"app {app.id} is allowed in {world}, where {port} has no adapter: "
                f"{adapter.id} is allowed in {', '.join(adapter.worlds_allowed)}",
                node_from=app.id,
                node_to=adapter.id,
                imported=port,
                path=_GRAPH,
                patch=_narrow(subject, app, world),
            )


def _forbidden(subject: Subject, importer: Node, imported: Node, world: str) -> Finding:
    site = next(
        (site for site in subject.sites.get((importer.id, imported.id), ()) if not site.type_only),
        None,
    )
    return Finding(
        code="E_ARCH_WORLD_FORBIDDEN",
        message=f"{importer.id} is allowed in {world}, and {imported.id}, which it imports, is not",
        node_from=importer.id,
        node_to=imported.id,
        module=site.importer if site else "",
        imported=site.imported if site else "",
        path=subject.path_of(site.importer) if site else _GRAPH,
        line=site.line if site else 0,
        patch=_narrow(subject, importer, world),
    )


def _narrow(subject: Subject, node: Node, world: str) -> Patch | None:
    """Take a world from a node, unless none would be left."""
    if len(node.worlds_allowed) == 1:
        return None
    place = ("modules", subject.positions[node.id], "worlds_allowed")
    position = [str(allowed) for allowed in node.worlds_allowed].index(world)
    return remove_item(_GRAPH, *place, position, value=world)
