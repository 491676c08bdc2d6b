"""Which objects windows overlap, and what the missed ones are split into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.report.page.collect import collect
from jobs.report.page.gallery import Limits
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.windows_and_maps import WindowsRow, encode_windows
from pipelines.engine.commits import Output
from pipelines.engine.runner import Engine
from tests.support.small_page import CAT, DOG, KEYS, SIZE, make_engine, publish_detections, run_step


@pytest.fixture
def proposed(tmp_path: Path) -> Engine:
    """All cats have a window; the dog of the last image has none; one image has no row at all."""
    engine = make_engine(tmp_path)
    run_step(engine, "images")
    publish_detections(engine)
    run_step(engine, "evaluate")
    step = next(step for step in engine.steps if step.name == "windows")
    artifact = engine.workspace.artifact(step.spec.artifact)
    manifest = Manifest.read(engine.workspace.store, step.spec.manifest)
    artifact.describe(step.preimage)
    for unit in manifest.units("val"):
        keys = [key for key in manifest.keys(unit) if key in KEYS and key != "img3"]
        rows = [WindowsRow(key, *SIZE, np.array([CAT, DOG if key != "img5" else CAT], np.float32)) for key in keys]
        artifact.publish(unit, Output(encode_windows(rows), ".parquet", len(rows), len(rows)), 1.0)
    return engine


def test_missed_objects_have_a_window_or_none(proposed: Engine):
    report = collect(proposed, Limits(pictures=1, failures=1))
    assert report.notes == ()
    table = report.weaknesses
    assert table.kinds[-2:] == ("no proposal", "low score")
    cats, dogs = table.rows
    assert cats.figures[-1] == "83.3"  # five of six
    assert dogs.figures[-1] == "66.7"  # four of six: not of the third image, not of the last
    assert not table.partial
