"""Tool sets by name: `package.module`, or `package.module:object`.

Owns what a command line may say. An object is a tool, a function, a module, a `ToolSet`, something
that has `tools` (a workspace, a server), a list of those, or a function without parameters that
returns one of them. Importing runs code of this machine: whoever names a module trusts it.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cloche.script.errors import ToolDeclarationError
from cloche.script.tools import Tool, ToolSet


def load_tools(name: str) -> ToolSet:
    """Return the tools that a name stands for; modules are found in the working folder, too.

    Raises:
        ToolDeclarationError: there is no such module or object, it fails, or it is no tool.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        problem = f"the module {module_name!r} cannot be imported: {error}"
        raise ToolDeclarationError(where="--tools", problem=problem) from error
    except Exception as error:
        problem = f"the module {module_name!r} failed: {type(error).__name__}: {error}"
        raise ToolDeclarationError(where="--tools", problem=problem) from error
    for part in filter(None, attribute.split(".")):
        if not hasattr(found, part):
            problem = f"{module_name} has no {attribute!r}"
            raise ToolDeclarationError(where="--tools", problem=problem)
        found = getattr(found, part)
    return tools_of(found, name)


def tools_of(found: Any, name: str) -> ToolSet:
    """Return the tools that an object has.

    Raises:
        ToolDeclarationError: it has none.
    """
    if inspect.isfunction(found) and not inspect.signature(found).parameters:
        found = found()
    members = list(found) if isinstance(found, list | tuple) else [found]
    if isinstance(found, ToolSet):
        members = [found]
    tools = ToolSet(*(_part(member) for member in members))
    if not tools:
        problem = f"{name} has no tools; decorate functions with @cloche.tool"
        raise ToolDeclarationError(where="--tools", problem=problem)
    return tools


def _part(member: Any) -> Any:
    if isinstance(member, Tool | ToolSet | ModuleType) or callable(member):
        return member
    # A workspace, a list of commands, a connected server: whatever has tools.
    tools = getattr(member, "tools", None)
    if isinstance(tools, ToolSet):
        return tools
    if isinstance(tools, list | tuple):
        return ToolSet(*tools)
    problem = f"{type(member).__name__} is no tool, function, module or tool set"
    raise ToolDeclarationError(where="--tools", problem=problem)
