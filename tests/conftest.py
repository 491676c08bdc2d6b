"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core: before any library starts its threads
    for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a shell's background: the processes of tests would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = tuple(
    f"tests.support.{name}"
    for name in ("chain", "in_process", "job_dashboard", "own_modules", "s3_server", "ray_cluster", "toy_fixtures")
)

ROOT = Path(__file__).resolve().parent.parent

# Nothing is timed: a first call compiles or imports, and a machine may be busy. In CI every run tries the same
# examples, so that what fails there is due to the change; elsewhere each run tries new ones.
settings.register_profile(
    "sppnet", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("sppnet")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data: `$SPPNET_SHARED`, or `shared` beside the checkout; without one the test is skipped."""
    told = os.environ.get("SPPNET_SHARED")
    folder = Path(told) if told else ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        if told:
            pytest.fail(f"SPPNET_SHARED={told} holds no data/")
        pytest.skip("needs the real data of ../shared/data; set SPPNET_SHARED to the folder that holds data/")
    return folder


@cache
def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what reads the shared folder, skips what needs a GPU where there is none, and sorts.

    Fast tests come first; where several processes share them, last.

    So a test that fails is told early by one process, and of several none is left with all that is slow.
    """
    for item in items:
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
    shared_out = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: [name in item.keywords for name in ("slow", "ray", "s3")], reverse=shared_out)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For layers so small that threads only wait for one another."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
