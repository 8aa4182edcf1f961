"""Applications by name, `module:attribute`, as commands and worker processes get them."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cloche.errors import ClocheError
from cloche.web.adapters.asgi_client import AsgiBridge
from cloche.web.app import App

_ASGI_COUNT: Final = 3  # scope, receive, send
_OURS: Final = str(Path(__file__).parents[2])
_IMPORTS: Final = ("<frozen importlib", importlib.__file__)


class AppNotFoundError(ClocheError):
    """No application has this name. State: its module may have been imported."""

    code = "WEB_APP_NOT_FOUND"
    blame = "caller"

    def __init__(self, *, name: str, problem: str) -> None:
        super().__init__(f"no application is at {name}: {problem}", name=name, problem=problem)


def load_app(name: str, *, folder: str | Path = ".", factory: bool = False) -> App:
    """Return the application of a name; one of ASGI as an application of ours.

    Args:
        name: `module:attribute`; without an attribute it is `app`.
        folder: where modules are looked for first.
        factory: whether the attribute is a function that returns the application.

    Raises:
        AppNotFoundError: the module or attribute is not there, or is no application.
    """
    module_name, _, attribute = name.partition(":")
    if not Path(folder).is_dir():
        raise AppNotFoundError(name=name, problem=f"{folder} is no folder")
    place = str(Path(folder).resolve())
    if place not in sys.path:
        sys.path.insert(0, place)
    found = _attribute(name, module_name, attribute or "app")
    if factory:
        if not callable(found):
            problem = f"{type(found).__name__} is no function that makes an app (no --factory)"
            raise AppNotFoundError(name=name, problem=problem)
        found = found()
    if isinstance(found, App):
        return found
    if _is_asgi(found):
        return AsgiBridge(found)
    problem = f"{type(found).__name__} is neither an App nor an ASGI application"
    if callable(found) and not factory:
        problem += "; is it a function that makes one (--factory)?"
    raise AppNotFoundError(name=name, problem=problem)


def describe_failure(failure: BaseException) -> str:
    """Return what an application raised, with the lines of the application and none of ours."""
    if isinstance(failure, ClocheError):
        return f"{failure.message}\n"
    steps = traceback.extract_tb(failure.__traceback__)
    ours = [index for index, step in enumerate(steps) if step.filename.startswith(_OURS)]
    theirs = steps[ours[-1] + 1 :] if ours else steps
    # The machinery of imports stands between us and a module that fails.
    shown = [step for step in theirs if not step.filename.startswith(_IMPORTS)]
    head = ["Traceback of the application:\n", *traceback.format_list(shown)] if shown else []
    return "".join([*head, *traceback.format_exception_only(failure)])


def _attribute(name: str, module_name: str, attribute: str) -> Any:
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and not f"{module_name}.".startswith(f"{missing.name}."):
            raise  # the module is there, and something that it imports is not
        raise AppNotFoundError(name=name, problem=f"no module {module_name}") from None
    except ValueError:
        raise AppNotFoundError(name=name, problem="write module:attribute") from None
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            problem = f"{module_name} has no {attribute}"
            raise AppNotFoundError(name=name, problem=problem)
        found = getattr(found, part)
    return found


def _is_asgi(found: Any) -> bool:
    if not callable(found) or inspect.isclass(found):
        return False
    call = found if inspect.isroutine(found) else type(found).__call__
    if not inspect.iscoroutinefunction(call):
        return False
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return False
    required = [each for each in parameters if each.default is inspect.Parameter.empty]
    return len(required) == _ASGI_COUNT
