"""Tests of the images there are, and of which one a program gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.catalogue import CATALOGUE, choose_image, definition_of
from cloche.engine.errors import UnknownImageError


@pytest.mark.parametrize(
    ("code", "image"),
    [
        ("", "python"),
        ("import json, re", "python"),
        ("import numpy", "python+numpy"),
        ("import numpy as np", "python+numpy"),
        ("  from numpy.linalg import inv", "python+numpy"),
        ("\timport json, numpy", "python+numpy"),
        ("import scipy", "python+numpy"),
        ("from sklearn import svm", "python+numpy"),
        ("import pandas as pd", "python+pandas"),
        ("import numpy\nimport pandas", "python+pandas"),
        ("import statsmodels.api as sm", "python+pandas"),
        ("from matplotlib import pyplot", "python+matplotlib"),
        ("import pandas\nimport matplotlib.pyplot as plt", "python+matplotlib"),
        ("import seaborn", "python+matplotlib"),
        ("def f():\n    import pandas", "python+pandas"),
        ("x = 1\r\nimport numpy\r\n", "python+numpy"),
        ("# import numpy", "python"),
        ("import json  # like numpy", "python"),
        ("print('import numpy')", "python"),
        ("import numpylike", "python"),
        ("import my_numpy", "python"),
        ("important = numpy = 1", "python"),
        ("import json\nnumpy = 1", "python"),
    ],
)
def test_python_gets_the_image_with_its_libraries(code, image):
    """The most loaded library that the program imports decides; words elsewhere do not."""
    assert choose_image("python", code) == image


@given(st.text())
def test_javascript_has_one_image(code):
    """Whatever the program says."""
    assert choose_image("javascript", code) == "javascript"


@given(
    st.text()
    | st.lists(st.sampled_from(["import ", "numpy", "from ", "\n", "#", " "])).map("".join)
)
def test_any_program_gets_an_image_of_its_language(code):
    """The choice is in the catalogue, of the right language, and the same each time."""
    name = choose_image("python", code)
    assert CATALOGUE[name].language == "python"
    assert choose_image("python", code) == name


def test_a_long_line_is_read_once():
    """Text that nearly matches takes time in proportion to its length (no backtracking)."""
    assert choose_image("python", "import " + "a," * 200_000) == "python"
    assert choose_image("python", "import\t" * 60_000) == "python"
    assert choose_image("python", " " * 400_000) == "python"


def test_definitions():
    """Each image is found by its name and says what it is."""
    assert sorted(CATALOGUE) == [
        "javascript",
        "javascript+script",
        "python",
        "python+matplotlib",
        "python+numpy",
        "python+pandas",
    ]
    for name, definition in CATALOGUE.items():
        assert definition_of(name) is definition
        assert (definition.name, bool(definition.description)) == (name, True)
        assert definition.variant == (name.partition("+")[2] or "base")
        assert name.startswith(definition.language)


def test_unknown_image():
    """The error names what was asked for and what there is."""
    with pytest.raises(UnknownImageError) as caught:
        definition_of("pyhton")
    assert caught.value.message == (
        "there is no image 'pyhton'; the images are: "
        "javascript, javascript+script, python, python+matplotlib, python+numpy, python+pandas"
    )
    assert caught.value.fields == {"name": "pyhton", "known": sorted(CATALOGUE)}
