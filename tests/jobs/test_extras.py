from __future__ import annotations

import pytest

from jobs.extras import missing_extra


def test_a_library_of_an_extra_is_named_by_its_top() -> None:
    line = missing_extra(ModuleNotFoundError("No module named 'ray.train'", name="ray.train"))
    assert line == "ray is not installed; it comes with the extra: pip install 'sppnet[pipeline]'"


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'pipelines.gone'", name="pipelines.gone"),
        ModuleNotFoundError("raised by hand, without a name"),
        ImportError("cannot import name 'x' from 'ray'", name="ray"),
        ValueError("another"),
    ],
)
def test_other_errors_are_no_lack_of_an_extra(error: Exception) -> None:
    assert missing_extra(error) is None
