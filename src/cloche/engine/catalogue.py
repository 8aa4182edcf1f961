"""The images there are, by name: what each is made of. Pure data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from cloche.engine.errors import UnknownImageError

Language = Literal["javascript", "python"]

STDLIB_PATH: Final = "/usr/local/lib/python315.zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDefinition:
    """One image.

    Args:
        name: as in `--image`.
        language: which guest module and prelude.
        variant: what the prelude warms: "base" or a library.
        description: for people.
    """

    name: str
    language: Language
    variant: str
    description: str


CATALOGUE: Final[dict[str, ImageDefinition]] = {
    definition.name: definition
    for definition in (
        ImageDefinition(
            name="javascript",
            language="javascript",
            variant="base",
            description="QuickJS with the web and node library",
        ),
        ImageDefinition(
            name="javascript+script",
            language="javascript",
            variant="script",
            description="QuickJS as scripts find it: frozen, and no code from text",
        ),
        ImageDefinition(
            name="python",
            language="python",
            variant="base",
            description="CPython with common modules imported",
        ),
        ImageDefinition(
            name="python+numpy",
            language="python",
            variant="numpy",
            description="CPython with numpy imported",
        ),
        ImageDefinition(
            name="python+pandas",
            language="python",
            variant="pandas",
            description="CPython with numpy and pandas imported",
        ),
        ImageDefinition(
            name="python+matplotlib",
            language="python",
            variant="matplotlib",
            description="CPython with numpy, pandas and matplotlib imported",
        ),
    )
}

# From the most to the least loaded: the first whose library the program names is taken.
_PYTHON_CHOICES: Final = (
    (
        "python+matplotlib",
        re.compile(r"^[ \t]*(?:import|from)\b[^#\n]*\b(?:matplotlib|seaborn)\b", re.MULTILINE),
    ),
    (
        "python+pandas",
        re.compile(r"^[ \t]*(?:import|from)\b[^#\n]*\b(?:pandas|statsmodels)\b", re.MULTILINE),
    ),
    (
        "python+numpy",
        re.compile(r"^[ \t]*(?:import|from)\b[^#\n]*\b(?:numpy|scipy|sklearn)\b", re.MULTILINE),
    ),
)


def definition_of(name: str) -> ImageDefinition:
    """Return the definition of an image.

    Raises:
        UnknownImageError: with the names there are.
    """
    definition = CATALOGUE.get(name)
    if definition is None:
        raise UnknownImageError(name=name, known=sorted(CATALOGUE))
    return definition


def choose_image(language: Language, code: str) -> str:
    """Return the image that suits a program: a pure function of its text.

    A wrong guess costs an import at run time, nothing else.
    """
    if language == "javascript":
        return "javascript"
    for name, pattern in _PYTHON_CHOICES:
        if pattern.search(code):
            return name
    return "python"
