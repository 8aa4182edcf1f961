"""Read one Python file's text: its imports, names, `__all__`, functions and tests.

Works on text alone, by the `ast` module: nothing of the project is imported or run, so a check is
safe on any project. A name that only a run can compute is out of reach and is reported as dynamic.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from cloche.arch.facts import FunctionSize, ImportStatement, ModuleFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_DYNAMIC_IMPORTS = frozenset({"__import__", "import_module"})


def read_module(text: str, *, name: str, path: str, is_package: bool) -> ModuleFacts:
    """Return the facts of a module.

    Raises:
        SyntaxError: the text is no Python of this interpreter's version.
        ValueError: the text holds a NUL byte.
    """
    tree = ast.parse(text)
    exported, dynamic = _read_exports(tree)
    bound = frozenset(_bound_names(tree.body))
    package = name if is_package else name.rpartition(".")[0]
    return ModuleFacts(
        name=name,
        path=path,
        line_count=len(text.splitlines()),
        imports=_read_imports(tree, package, expressions_matter=_may_import_by_call(text)),
        bound=bound - {"*"},
        exported=exported,
        exported_dynamic=dynamic,
        answers_any_name="__getattr__" in bound or "*" in bound,
        functions=tuple(_function_sizes(tree, "")),
    )


def read_tests(text: str) -> frozenset[str]:
    """Return the ids of the test functions in a test file; none if it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return frozenset()
    return frozenset(_test_ids(tree.body, ""))


def _test_ids(body: list[ast.stmt], owner: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, _FUNCTION) and node.name.startswith("test"):
            yield f"{owner}{node.name}"
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _test_ids(node.body, f"{owner}{node.name}::")


def _may_import_by_call(text: str) -> bool:
    return any(name in text for name in _DYNAMIC_IMPORTS)


def _read_imports(
    tree: ast.Module, package: str, *, expressions_matter: bool
) -> tuple[ImportStatement, ...]:
    """Return every import in order of lines; `package` is what a relative import starts from."""
    found: list[ImportStatement] = []
    # (node, stands in a typing guard, runs when the module is imported)
    work: list[tuple[ast.AST, bool, bool]] = [(tree, False, True)]
    while work:
        node, type_only, top_level = work.pop()
        found.extend(
            ImportStatement(
                base=base,
                name=name,
                line=getattr(node, "lineno", 1),
                type_only=type_only,
                top_level=top_level,
            )
            for base, name in _imported_names(node, package)
        )
        # Imports are statements; expressions only matter for `import_module("...")`.
        children = [
            child
            for child in ast.iter_child_nodes(node)
            if expressions_matter or not isinstance(child, ast.expr)
        ]
        guarded = node.body if isinstance(node, ast.If) and _is_typing_guard(node.test) else ()
        is_later = isinstance(node, (*_FUNCTION, ast.Lambda)) or _is_main_guard(node)
        inner_top_level = top_level and not is_later
        work.extend((child, type_only or child in guarded, inner_top_level) for child in children)
    return tuple(sorted(found, key=lambda statement: (statement.line, statement.name)))


def _imported_names(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """Yield (base, name) for each name that the node imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(package, node.module or "", node.level)
        for alias in node.names:
            yield base, base if alias.name == "*" else _join(base, alias.name)
    elif isinstance(node, ast.Call):
        name = _dynamic_target(node)
        stem = name.lstrip(".")
        if stem:
            target = _absolute(package, stem, len(name) - len(stem))
            yield target, target


def _absolute(package: str, module: str, level: int) -> str:
    if level == 0:
        return module
    parts = package.split(".")
    # More dots than packages is an error in a run; here it just leads nowhere above the top.
    return _join(".".join(parts[: max(0, len(parts) - level + 1)]), module)


def _join(base: str, name: str) -> str:
    return f"{base}.{name}" if base and name else base or name


def _is_typing_guard(test: ast.expr) -> bool:
    if isinstance(test, ast.Attribute):
        return test.attr == "TYPE_CHECKING"
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _is_main_guard(node: ast.AST) -> bool:
    """Recognise `if __name__ == ...`: what it holds runs in a script, not in an import."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    return isinstance(node.test.left, ast.Name) and node.test.left.id == "__name__"


def _dynamic_target(call: ast.Call) -> str:
    """Return the module that `import_module("x")` or `__import__("x")` names, or nothing."""
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    if name not in _DYNAMIC_IMPORTS or not call.args:
        return ""
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _bound_names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what the statements bind at module level, through `if`, `try`, `with` and loops."""
    for node in body:
        if isinstance(node, (*_FUNCTION, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Import):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            yield from _assigned_names(node)
            for block in ("body", "orelse", "finalbody"):
                yield from _bound_names(getattr(node, block, []))
            for part in ("handlers", "cases"):
                for branch in getattr(node, part, []):
                    yield from _bound_names(branch.body)


def _assigned_names(node: ast.stmt) -> Iterator[str]:
    targets: list[ast.expr | None] = []
    if isinstance(node, ast.Assign):
        targets.extend(node.targets)
    elif isinstance(node, ast.AnnAssign):
        targets.append(node.target if node.value else None)
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor):
        targets.append(node.target)
    elif isinstance(node, ast.With | ast.AsyncWith):
        targets.extend(item.optional_vars for item in node.items)
    elif isinstance(getattr(node, "name", None), ast.Name):  # `type X = ...` of Python 3.12
        targets.append(getattr(node, "name", None))
    for target in filter(None, targets):
        for leaf in ast.walk(target):
            if isinstance(leaf, ast.Name) and isinstance(leaf.ctx, ast.Store):
                yield leaf.id


def _read_exports(tree: ast.Module) -> tuple[tuple[str, ...] | None, bool]:
    """Return `__all__` in order and whether a part of it is computed."""
    names: list[str] | None = None
    dynamic = False
    for node in tree.body:
        value = _exports_value(node)
        if value is None:
            continue
        found, computed = _literal_names(value)
        is_first = not isinstance(node, ast.AugAssign | ast.Expr)
        names = found if is_first or names is None else [*names, *found]
        dynamic = computed or (dynamic and not is_first)
    return (None if names is None else tuple(dict.fromkeys(names))), dynamic


def _exports_value(node: ast.stmt) -> ast.expr | None:
    """Return the expression that a statement gives or adds to `__all__`."""
    if isinstance(node, ast.Assign) and any(_is_all(target) for target in node.targets):
        return node.value
    if isinstance(node, ast.AnnAssign | ast.AugAssign) and _is_all(node.target):
        return node.value
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        function = call.func
        if isinstance(function, ast.Attribute) and _is_all(function.value) and call.args:
            argument = call.args[0]
            return ast.List(elts=[argument]) if function.attr == "append" else argument
    return None


def _is_all(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__all__"


def _literal_names(value: ast.expr) -> tuple[list[str], bool]:
    if isinstance(value, ast.BinOp):
        left, left_computed = _literal_names(value.left)
        right, right_computed = _literal_names(value.right)
        return left + right, left_computed or right_computed
    if not isinstance(value, ast.List | ast.Tuple | ast.Set):
        return [], True
    names = [
        item.value
        for item in value.elts
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    return names, len(names) != len(value.elts)


def _function_sizes(node: ast.AST, owner: str) -> Iterator[FunctionSize]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*_FUNCTION, ast.ClassDef)):
            name = f"{owner}{child.name}"
            if isinstance(child, _FUNCTION):
                line_count = (child.end_lineno or child.lineno) - child.lineno + 1
                yield FunctionSize(name=name, line=child.lineno, line_count=line_count)
            yield from _function_sizes(child, f"{name}.")
        elif not isinstance(child, ast.expr):
            yield from _function_sizes(child, owner)
