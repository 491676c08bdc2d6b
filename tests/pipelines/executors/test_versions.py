"""A process that works for a run of another version of sppnet says so."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from pipelines.executors import versions
from pipelines.executors.ray_work import work
from sppnet.errors import ConfigError


def test_what_a_process_tells_is_the_version_of_who_began(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(versions, "__version__", "1.2.3")
    assert versions.told_version() == {"SPPNET_RUN_VERSION": "1.2.3"}
    clean.setenv("SPPNET_RUN_VERSION", "1.2.4")
    assert versions.told_version() == {}  # Ray lets a driver set no variable that its job has set
    assert versions.run_version() == {"SPPNET_RUN_VERSION": "1.2.3"}
    with pytest.raises(ConfigError) as caught:
        versions.check_version()
    assert str(caught.value) == (
        f"the run is made with sppnet 1.2.4, but {platform.node()} has 1.2.3: install the same version on every node"
    )


@pytest.mark.parametrize(
    ("wanted", "here"), [(None, "1.2.3"), ("1.2.3", "1.2.3"), ("0+unknown", "1.2.3"), ("1.2.3", "0+unknown")]
)
def test_the_same_version_passes_and_so_does_a_checkout(
    clean: pytest.MonkeyPatch, wanted: str | None, here: str
) -> None:
    clean.setattr(versions, "__version__", here)
    if wanted:
        clean.setenv("SPPNET_RUN_VERSION", wanted)
    versions.check_version()


def test_a_worker_of_another_version_makes_nothing(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("SPPNET_RUN_VERSION", "0.0.1")
    spec: Any = None  # it is not looked at
    working = work(spec, "unit")
    assert next(working) is None
    with pytest.raises(ConfigError, match=r"^the run is made with sppnet 0\.0\.1, but "):
        next(working)
