"""The recipes that plans are tried with."""

from __future__ import annotations

import pytest

from jobs.recipes import find_recipe
from pipelines.engine.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def voc07() -> Recipe:
    return load_recipe(find_recipe("voc07"), ())


@pytest.fixture(scope="module")
def claims() -> Recipe:
    return load_recipe(find_recipe("claims-detection"), ())


@pytest.fixture(scope="module")
def demo() -> Recipe:
    return load_recipe(find_recipe("demo"), ())
