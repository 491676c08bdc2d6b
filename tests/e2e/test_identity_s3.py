"""A data set in an object store: looking again takes a handful of requests, however many images there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.store import open_store
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from tests.support.chain import TRAIN, VAL, Silent

pytestmark = pytest.mark.s3


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the requests of each kind that go out."""
    from aiobotocore.client import AioBaseClient

    made: Counter[str] = Counter()
    real = AioBaseClient._make_api_call

    async def counted(client: Any, operation: str, arguments: Any) -> Any:
        made[operation] += 1
        return await real(client, operation, arguments)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", counted)
    return made


def test_looking_again_takes_a_handful_of_requests(drawn: Path, s3: str, requests: Counter[str]) -> None:
    data = open_store(f"{s3}/data")
    for path in drawn.rglob("*"):
        if path.is_file():
            data.put(path.relative_to(drawn).as_posix(), path.read_bytes())

    def engine(fresh: Collection[str] | None = None) -> Engine:
        requests.clear()
        step = {"stage": "ingest", "dataset": {"root": f"{s3}/data"}}
        recipe = parse_recipe({"version": 1, "name": "s3", "seed": 0, "steps": {"images": step}}, "s3.yaml")
        return Engine(recipe, Workspace.open(f"{s3}/workspace"), fresh)

    first = engine()
    assert requests["GetObject"] >= 2 * (TRAIN + VAL)  # every image and every annotation, once
    first.run(LocalExecutor(), Silent())
    again = engine()
    assert again.steps[0].spec == first.steps[0].spec
    assert requests["GetObject"] <= 8
    assert requests["ListObjectsV2"] <= 4
    assert requests["HeadObject"] <= 2
    recorded = engine(fresh=())
    assert recorded.steps[0].spec == first.steps[0].spec
    assert sum(requests.values()) <= 4
    data.put("JPEGImages/train_00000.jpg", (drawn / "JPEGImages" / "train_00001.jpg").read_bytes())
    changed = engine()
    assert changed.steps[0].spec != first.steps[0].spec
    assert requests["GetObject"] <= 9
