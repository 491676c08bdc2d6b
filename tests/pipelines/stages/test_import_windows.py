"""import-windows: windows of other programs become a windows artifact that accounts for every key."""

from __future__ import annotations

import json
import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.datasets.keys import key_of
from pipelines.stages.import_windows import SOURCE
from sppnet.errors import ConfigError
from tests.support.chain import Chain, accounts
from tests.support.made_tars import jpeg
from tests.support.proposing import make_proposals

IMPORT: dict[str, Any] = {"stage": "import-windows", "images": "images", "max_quarantined": 1.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def keys_of(chain: Chain, split: str) -> list[str]:
    return [key for shard in chain.manifest.shards(split) for key in shard.keys]


def start(folder: Path, drawn: Path, **fields: Any) -> Chain:
    """The data set ingested, and the recipe with `import-windows` whose file is not written yet."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / "windows.json"
    step = {**IMPORT, "paths": [str(path)], "convention": "xyxy-0-half-open", **fields}
    path.write_text("{}")
    made = make_proposals(folder, drawn, windows=step)
    made.only("images").run()
    return made


def write(folder: Path, boxes: dict[str, Any]) -> None:
    (folder / "in" / "windows.json").write_text(json.dumps(boxes))


def again(chain: Chain) -> Chain:
    """The recipe planned anew: its files have changed."""
    return Chain(chain.data, chain.steps, chain.root)


def rows_of(chain: Chain) -> dict[str, np.ndarray]:
    rows = [
        row for unit in chain.units("windows") for row in decode_windows(chain.artifact("windows").read(unit), unit)
    ]
    return {row.key: row.windows for row in rows}


def test_windows_come_back_and_every_key_is_accounted_for(folder: Path, drawn: Path, caplog: Any) -> None:
    chain = start(folder, drawn)
    first, second, third, fourth, *_ = keys_of(chain, "train")
    assert third != "broken"
    write(
        folder,
        {
            first: [[1, 2, 60, 70], [0, 0, 30.5, 40], [1, 2, 60, 70]],
            second: [[5, 5, 5, 90], [9, 9, 3, 3]],  # every window is degenerate
            third: [[1, 1, 5000, 50]],
            fourth: [[0, 0, 20, 20]],  # `broken`, which ingest set aside
            "stranger": [[0, 0, 5, 5]],
        },
    )
    chain = again(chain)
    with caplog.at_level(logging.WARNING, logger="pipelines.stages.import_windows"):
        chain.run()
    assert "step windows: 1 of 5 images of the files are not in the data set: stranger" in caplog.text
    found = {key: windows.tolist() for key, windows in rows_of(chain).items()}
    assert found == {first: [[1, 2, 60, 70], [0, 0, 30.5, 40]]}
    reasons = {q.key: (q.reason, q.stage) for q in chain.summaries["windows"].quarantined}
    assert fourth == "broken"
    assert reasons["broken"] == ("truncated", "ingest")
    assert reasons[second] == ("no-windows", "import-windows")
    assert reasons[third] == ("window-outside-image", "import-windows")
    assert reasons["thin"] == ("no-windows", "import-windows")
    assert all(kept == wanted for _, kept, wanted in accounts(chain, "windows"))


def test_unknown_keys_are_recorded_once(folder: Path, drawn: Path) -> None:
    chain = start(folder, drawn)
    write(folder, {"x": [], "y": [], keys_of(chain, "val")[0]: [[0, 0, 9, 9]]})
    chain = again(chain)
    stage = chain.stage("windows")
    stage.prepare()
    stage.prepare()
    place = SOURCE.format(manifest=chain.manifest.digest)
    body = json.loads(stage.artifact.store.read(f"{stage.artifact.name}/{place}"))
    assert body == {"images": 3, "unknown": 2, "unknown_keys": ["x", "y"]}


def test_windows_outside_may_be_clipped_and_small_ones_dropped(folder: Path, drawn: Path) -> None:
    chain = start(folder, drawn, outside="clip", min_side=10, max_windows=2, splits=["val"])
    first = keys_of(chain, "val")[0]
    write(folder, {first: [[-50, 3, 40, 30], [1, 1, 9, 99], [2, 2, 30, 30], [3, 3, 30, 30]]})
    chain = again(chain)
    chain.run()
    assert rows_of(chain)[first].tolist() == [[0, 3, 40, 30], [2, 2, 30, 30]]


def test_a_published_mat_file_of_a_split(folder: Path, drawn: Path) -> None:
    chain = start(folder, drawn)
    keys = keys_of(chain, "val")
    names, boxes = np.empty((len(keys), 1), object), np.empty((1, len(keys)), object)
    names[:, 0] = keys
    boxes[0] = [np.array([[1, 1, 20 + i, 30], [2, 3, 40, 50]], np.float64) for i in range(len(keys))]
    savemat(folder / "in" / "voc_val.mat", {"images": names, "boxes": boxes})
    mat = {"paths": [str(folder / "in" / "voc_val.mat")], "convention": "yxyx-1-inclusive", "splits": ["val"]}
    chain = chain.changed(windows=mat)
    chain.run()
    rows = rows_of(chain)
    assert list(rows) == keys
    assert [windows.tolist() for windows in rows.values()] == [
        [[0, 0, 30, 20 + i], [2, 1, 50, 40]] for i in range(len(keys))
    ]


def test_an_artifact_of_windows_can_be_imported(folder: Path, drawn: Path) -> None:
    chain = start(folder, drawn, splits=["val"])
    write(folder, {key: [[0, 0, 20, 20]] for key in keys_of(chain, "val")})
    chain = again(chain)
    chain.run()
    other = chain.changed(windows={"paths": [f"{folder}/workspace/{chain.artifact('windows').name}"]})
    assert other.artifact("windows").name != chain.artifact("windows").name
    other.run()
    for unit in other.units("windows"):
        assert other.artifact("windows").read(unit) == chain.artifact("windows").read(unit)


def test_content_names_the_artifact(folder: Path, drawn: Path) -> None:
    chain = start(folder, drawn)
    name = chain.step("windows").spec.artifact
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "w.json").write_text("{}")
    assert chain.changed(windows={"paths": [f"{folder}/elsewhere"]}).step("windows").spec.artifact == name
    assert chain.changed(windows={"convention": "xywh-0"}).step("windows").spec.artifact != name
    assert chain.changed(windows={"outside": "clip"}).step("windows").spec.artifact != name
    write(folder, {"a": []})
    assert again(chain).step("windows").spec.artifact != name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"convention": "matlab"}, r"steps.windows.convention: .*'yxyx-1-inclusive'"),
        ({"paths": []}, r"steps.windows.paths: "),
        ({"paths": ["no/such/file.mat"]}, r"paths: windows no/such/file.mat can't be read"),
        ({"splits": ["test"]}, r"steps.windows.splits: split test is not among"),
        ({"outside": "keep"}, r"steps.windows.outside: "),
    ],
)
def test_wrong_fields_are_refused(folder: Path, drawn: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        start(folder, drawn).changed(windows=fields)


def test_files_name_images_as_lists_do(tmp_path: Path) -> None:
    """With extension, folder and Windows' separators, with dots and spaces, or by their keys."""
    names = {
        "cat.rf.0a.jpg": "cat.rf.0a.jpg",
        "img (1).JPG": "JPEGImages/img (1).jpg",
        "sub.dir/x.png": "sub.dir\\x.png",
        "né.jpg": unicodedata.normalize("NFD", "né"),
        "100%.jpg": "100%25",
    }
    for number, name in enumerate(names):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(jpeg(number))
    (tmp_path / "windows.json").write_text(json.dumps({given: [[0, 0, 9, 9]] for given in names.values()}))
    steps = {
        "images": {"stage": "ingest", "dataset": {"kind": "images", "root": str(tmp_path / "photos")}},
        "windows": {
            **IMPORT,
            "paths": [str(tmp_path / "windows.json")],
            "convention": "xyxy-0-half-open",
            "splits": ["all"],
        },
    }
    chain = Chain(tmp_path / "photos", steps, tmp_path / "ws")
    chain.run()
    assert set(rows_of(chain)) == {key_of(name) for name in names}
