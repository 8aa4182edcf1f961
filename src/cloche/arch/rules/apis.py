"""Does every export exist, and does every public symbol have its documents and smoke tests?

A symbol is the dotted name of something at module level. It is exported if `__all__` has it and the
module binds it; in a module without `__all__`, if the module binds it and it is not private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.arch.documents import DOCUMENT_PATHS, PublicApi
from cloche.arch.facts import ModuleFacts, below, resolve
from cloche.arch.findings import Finding
from cloche.arch.jsonpatch import append_to, remove_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.arch.subject import Subject

_GRAPH = DOCUMENT_PATHS["graph"]
_CONTRACTS = DOCUMENT_PATHS["contracts"]
_PUBLIC_KINDS = ("core", "port")


def check_apis(subject: Subject) -> Iterator[Finding]:
    """Yield every export and public symbol that lacks something."""
    yield from _check_declared_exports(subject)
    yield from _check_real_exports(subject)
    yield from _check_contracts(subject)
    yield from _check_internal(subject)


def exported_by(subject: Subject, symbol: str) -> ModuleFacts | None:
    """Return the module that exports the symbol, or None."""
    name = symbol.rpartition(".")[2]
    holder = resolve(symbol.rpartition(".")[0], subject.facts.module_names())
    module = subject.facts.modules.get(holder or "")
    if module is None or f"{module.name}.{name}" != symbol:
        return None
    is_bound = name in module.bound or module.answers_any_name or symbol in subject.facts.modules
    if module.exported is None or (module.exported_dynamic and name not in module.exported):
        return module if name in module.bound and not name.startswith("_") else None
    return module if name in module.exported and is_bound else None


def _is_internal(subject: Subject, symbol: str) -> bool:
    return any(below(symbol, item.prefix) for item in subject.documents.contracts.internal)


def _check_declared_exports(subject: Subject) -> Iterator[Finding]:
    for index, node in enumerate(subject.documents.graph.modules):
        for position, symbol in enumerate(node.exports):
            module = exported_by(subject, symbol)
            if module is None or subject.claims.owner.get(module.name) != node.id:
                reason = (
                    "no module exports it" if module is None else f"{module.name} is not its own"
                )
                patch = remove_item(_GRAPH, "modules", index, "exports", position, value=symbol)
                yield Finding(
                    code="E_ARCH_EXPORT_UNKNOWN",
                    message=f"{node.id} declares the export {symbol}: {reason}",
                    node_from=node.id,
                    imported=symbol,
                    path=_GRAPH,
                    patch=patch,
                )
            elif node.kind in _PUBLIC_KINDS and not _is_accounted(subject, symbol):
                yield Finding(
                    code="E_ARCH_EXPORT_UNCONTRACTED",
                    message=f"{node.kind} {node.id} exports {symbol} without a contract",
                    node_from=node.id,
                    module=module.name,
                    imported=symbol,
                    path=module.path,
                )


def _is_accounted(subject: Subject, symbol: str) -> bool:
    public = {api.symbol for api in subject.documents.contracts.public_apis}
    return symbol in public or _is_internal(subject, symbol)


def _check_real_exports(subject: Subject) -> Iterator[Finding]:
    for node, module in subject.owned_modules():
        if module.exported_dynamic:
            yield Finding(
                code="E_ARCH_EXPORTS_DYNAMIC",
                message=f"__all__ of {module.name} is computed; only its literal names are checked",
                node_from=node.id,
                module=module.name,
                path=module.path,
            )
        for name in module.exported or ():
            symbol = f"{module.name}.{name}"
            if symbol in node.exports or _is_internal(subject, symbol):
                continue
            position = subject.positions[node.id]
            yield Finding(
                code="E_ARCH_EXPORT_UNDECLARED",
                message=f"__all__ of {module.name} names {name}; {node.id} does not export it",
                node_from=node.id,
                module=module.name,
                imported=symbol,
                path=module.path,
                patch=append_to(_GRAPH, "modules", position, "exports", value=symbol),
            )


def _check_contracts(subject: Subject) -> Iterator[Finding]:
    exported = {symbol for node in subject.documents.graph.modules for symbol in node.exports}
    seen: set[str] = set()
    for api in subject.documents.contracts.public_apis:
        module = exported_by(subject, api.symbol)
        owner = subject.claims.owner.get(module.name, "") if module else ""
        if api.symbol in seen:
            message = f"{api.symbol} has more than one contract"
            yield _of_api("E_ARCH_API_DUPLICATE", message, owner, api)
        seen.add(api.symbol)
        if module is None:
            message = f"no module of the project exports {api.symbol}"
            yield _of_api("E_ARCH_API_UNKNOWN", message, owner, api)
        elif api.symbol not in exported and owner:
            yield Finding(
                code="E_ARCH_API_UNEXPORTED",
                message=f"{owner} does not declare the public symbol {api.symbol} as an export",
                node_from=owner,
                module=module.name,
                imported=api.symbol,
                path=_GRAPH,
                patch=append_to(
                    _GRAPH, "modules", subject.positions[owner], "exports", value=api.symbol
                ),
            )
        yield from _check_documents(subject, owner, api)
        yield from _check_smoke_tests(subject, owner, api)


def _of_api(code: str, message: str, owner: str, api: PublicApi) -> Finding:
    return Finding(
        code=code, message=message, node_from=owner, imported=api.symbol, path=_CONTRACTS
    )


def _check_documents(subject: Subject, owner: str, api: PublicApi) -> Iterator[Finding]:
    named = (
        ("E_ARCH_API_ENCODING_DOC_MISSING", "encoding_doc", api.encoding_doc),
        ("E_ARCH_API_ERRORS_DOC_MISSING", "errors_doc", api.errors_doc),
    )
    for code, field, path in named:
        file = subject.facts.files.get(path)
        if file is None or not file.exists:
            yield _of_api(code, f"{field} of {api.symbol} is missing: {path}", owner, api)
        elif file.is_empty:
            yield _of_api(code, f"{field} of {api.symbol} is empty: {path}", owner, api)


def _check_smoke_tests(subject: Subject, owner: str, api: PublicApi) -> Iterator[Finding]:
    code = "E_ARCH_API_SMOKE_MISSING"
    if not api.smoke_tests:
        yield _of_api(code, f"{api.symbol} has no smoke test", owner, api)
    for test in api.smoke_tests:
        path, _, test_id = test.partition("::")
        file = subject.facts.files.get(path)
        if file is None or not file.exists:
            message = f"smoke test of {api.symbol}: {path} is missing"
        elif test_id and test_id not in (file.tests or ()):
            message = f"smoke test of {api.symbol}: {path} has no test {test_id}"
        elif file.is_empty or (file.tests is not None and not file.tests):
            message = f"smoke test of {api.symbol}: {path} has no test"
        else:
            continue
        yield _of_api(code, message, owner, api)


def _check_internal(subject: Subject) -> Iterator[Finding]:
    names = subject.facts.module_names()
    for index, item in enumerate(subject.documents.contracts.internal):
        # A prefix covers modules, or one symbol of a module.
        if any(below(name, item.prefix) for name in names) or exported_by(subject, item.prefix):
            continue
        yield Finding(
            code="E_ARCH_INTERNAL_UNUSED",
            message=f"the internal prefix {item.prefix} covers no module and no symbol",
            imported=item.prefix,
            path=_CONTRACTS,
            patch=remove_item(_CONTRACTS, "internal", index, value=item.prefix, tested="/prefix"),
        )
