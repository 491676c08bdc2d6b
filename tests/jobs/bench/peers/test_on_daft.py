"""Where Daft is not installed, none of this is there; `test_pipeline.py` has what the bench says then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.bench.peers.job import PipelineJob
from jobs.bench.peers.torch_steps import Convolver

os.environ["DO_NOT_TRACK"] = "1"
pytest.importorskip("daft")


def test_the_declared_columns_are_those_of_the_rows(job: PipelineJob) -> None:
    from jobs.bench.peers.on_daft import MAP, read_tar

    tar = min(Path(job.tars).glob("*.tar"))
    (image,) = read_tar(str(tar))
    (first, second) = Convolver(job).map_rows(image["key"], image["jpg"])
    assert list(MAP.fields) == list(first) == list(second)
    assert (first["key"], first["scale"], second["scale"]) == ("im0", 96, 128)
