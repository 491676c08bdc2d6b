"""The demo's chain on a local Ray, its workspace on a real S3 server over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.engine.store import open_store
from tests.support.small_demo import (
    SLOW_SCALE,
    Command,
    Undisturbed,
    attempts,
    check_ledger,
    contents,
    orphans,
    overrides,
    small_engine,
)

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_chain_on_ray_and_s3(undisturbed: Undisturbed, s3: str, start: Callable[..., Command]) -> None:
    options = ["--verbose", *overrides()]
    first = start("run", "demo", "--cpus", "2", "--workspace", s3, *options)
    result = first.finish()
    assert result["steps"] == undisturbed.result["steps"]
    assert all(row["voc07_map"] is not None and row["area_map"] is not None for row in result["steps"].values())

    # What Ray's processes put into S3 is to the byte what one process wrote on the disk.
    expected = contents(str(undisturbed.workspace))
    slow = f"{undisturbed.artifact('maps')}/s{SLOW_SCALE}/"
    assert contents(s3) == {name: digest for name, digest in expected.items() if not name.startswith(slow)}
    assert orphans(s3) == []

    store = open_store(s3)
    folder = f"runs/{result['folder']}"
    assert result["report"] == f"{s3}/{folder}/report.html"
    assert store.read(f"{folder}/report.html").lower().startswith(b"<!doctype html>")
    names = {entry.name.removeprefix(f"{folder}/").split("/")[0] for entry in store.list(folder)}
    assert names == {"recipe.yaml", "events", "summary.json", "report.html"}
    assert all(entry.name.startswith((folder, "runs/demo/last.json")) for entry in store.list("runs")), "Ray Train's"

    made = attempts(s3)
    again = start("run", "demo", "--cpus", "2", "--workspace", s3, *options)
    assert again.finish()["steps"] == result["steps"]
    assert attempts(s3) == made
    assert "to make" not in again.errors
    assert "ray started local" in first.errors
    assert "ray started" not in again.errors

    status = start("status", "demo", "--workspace", s3, *overrides()).finish()
    assert status["complete"]
    check_ledger(small_engine(s3), status)
