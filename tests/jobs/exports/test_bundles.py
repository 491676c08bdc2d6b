"""`sppnet export` to `.sppnet` and `sppnet.load`: the detections of the run, to the last bit, from the file alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sppnet
from pipelines.artifacts.detections import decode_detection_table
from pipelines.detecting.detection_sets import final_boxes
from sppnet.bundle.model import Model
from sppnet.images.decoding import decode_image
from tests.support.chain import CATEGORIES, Chain
from tests.support.in_process import Outcome
from tests.support.in_process import sppnet as command
from tests.support.scored_runs import val_keys


def export(run: Path, step: str, file: Path, *more: str) -> Outcome:
    return command("export", run / "recipe.yaml", step, file, "--workspace", run / "workspace", *more)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("out") / "full.sppnet"
    outcome = export(run, "full", file, "--licence", "CC-BY-4.0")
    assert outcome.code == 0, outcome.lines
    assert outcome.json["bytes"] == file.stat().st_size
    assert outcome.json["categories"] == list(CATEGORIES)
    return file


@pytest.fixture(scope="module")
def model(exported: Path) -> Model:
    return sppnet.load(exported, device="cpu")


def rows_of(chain: Chain, step: str, key: str, kind: str) -> list[tuple]:
    """What the run's step has found in an image: category, score and box, category by category."""
    for unit in chain.shards("val"):
        table = decode_detection_table(chain.artifact(step).read(unit), unit)
        if key in table.keys:
            own = final_boxes(table.select(table.image == table.keys.index(key)), kind, 0.3)
            return [
                (own.categories[c], s.tobytes(), b.tobytes())
                for c, s, b in zip(own.category, own.scores, own.boxes, strict=True)
            ]
    raise AssertionError(key)


def plain(found) -> list[tuple]:
    return [(c, s.tobytes(), b.tobytes()) for c, s, b in zip(found.categories, found.scores, found.boxes, strict=True)]


def test_windows_proposed_anew_give_the_runs_detections(chain: Chain, model: Model) -> None:
    """`max_windows` cuts the order that is drawn from the key: the key must be the run's."""
    for key in val_keys(chain):
        file = chain.data / "JPEGImages" / f"{key}.jpg"
        ours = model.detect(file, key=key)
        assert plain(ours) == rows_of(chain, "full", key, "regressed")
        assert len(ours) > 0
        assert plain(model.detect(file, key=key, boxes="windows")) == rows_of(chain, "full", key, "windows")


def test_any_kind_of_image_with_given_windows(chain: Chain, model: Model) -> None:
    from PIL import Image

    key = val_keys(chain)[0]
    file = chain.data / "JPEGImages" / f"{key}.jpg"
    pixels = decode_image(file.read_bytes())
    windows = model.propose(pixels, key)
    assert windows.shape == (150, 4)
    expected = rows_of(chain, "full", key, "regressed")
    for image in (file, str(file), file.read_bytes(), Image.open(file), pixels):
        assert plain(model.detect(image, windows)) == expected
    above = model.detect(pixels, windows, threshold=-0.5)
    assert plain(above) == [row for row in expected if np.frombuffer(row[1], np.float32)[0] > -0.5]


def test_the_file_says_how_it_was_made(exported: Path, model: Model, run: Path) -> None:
    said = model.description
    assert (said.licence, said.categories) == ("CC-BY-4.0", CATEGORIES)
    steps = said.training["steps"]
    assert steps["svms"]["config"]["rounds"] == 2
    assert set(steps) == {"svms", "regressors", "network", "maps", "windows"}
    assert str(run).encode() not in exported.read_bytes()


def test_what_can_not_be_exported(run: Path, tmp_path: Path) -> None:
    for step, name, message in (
        ("both", "a.sppnet", "stands for several detectors; export each"),
        ("svms", "a.sppnet", "makes no detections; these do: plain, full"),
        ("full", "a.pth", "makes no network or head"),
        ("full", "a.bin", "must end in .safetensors or .pth or .sppnet"),
    ):
        outcome = export(run, step, tmp_path / name)
        assert outcome.code == 2
        assert message in outcome.json["error"]
    assert "a licence goes with" in export(run, "network", tmp_path / "a.pth", "--licence", "x").json["error"]
