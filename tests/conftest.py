"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = tuple(f"tests.support.{name}" for name in ("chain", "in_process", "s3_server", "toy_fixtures"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder with the oracles and real data: `$SPPNET_SHARED`, or `shared` beside the checkout."""
    folder = Path(os.environ.get("SPPNET_SHARED", ROOT.parent / "shared"))
    if not (folder / "oracles").is_dir():
        pytest.fail(f"no test vectors at {folder}: set SPPNET_SHARED to the folder that holds oracles/ and data/")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: what is broken shows at once; clusters, servers and slow ones last."""
    items.sort(key=lambda item: [name in item.keywords for name in ("slow", "ray", "s3")])


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For layers so small that threads only wait for one another."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
