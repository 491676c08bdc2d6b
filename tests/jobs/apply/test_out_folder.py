"""The folder of a command's results: whose it is, and what it says of images that were set aside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.apply.out_folder import OutFolder
from pipelines.engine.commits import Quarantined
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError

IDENTITY = {"artifact": "scores-1", "corpus": ["images", "/photos"], "options": {"format": "coco", "threshold": None}}


def opened(folder: Path, **changed: object) -> OutFolder:
    return OutFolder(str(folder / "out"), open_store(str(folder / "workspace")), {**IDENTITY, **changed})


def test_a_folder_belongs_to_one_artifact_and_corpus(tmp_path: Path) -> None:
    opened(tmp_path).claim({"labels": ["a"]})
    opened(tmp_path).claim({"labels": ["a"]})
    assert json.loads((tmp_path / "out/output.json").read_text()) == {**IDENTITY, "labels": ["a"]}
    for other in ({"artifact": "scores-2"}, {"corpus": ["images", "/others"]}):
        with pytest.raises(ConfigError, match="out: holds the results of another command, model or corpus; give"):
            opened(tmp_path, **other)
    for broken in ("[]", "{"):
        (tmp_path / "out/output.json").write_text(broken)
        with pytest.raises(ConfigError, match="out: holds the results of another"):
            opened(tmp_path)


def test_other_options_are_named(tmp_path: Path) -> None:
    opened(tmp_path, options={"format": "coco", "threshold": 0.5}).claim({})
    with pytest.raises(ConfigError, match=r"its files were written with format coco, threshold 0.5; give another"):
        opened(tmp_path)


def test_who_comes_second_is_refused(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path, artifact="scores-2")
    first.claim({})
    with pytest.raises(ConfigError, match="holds the results of another"):
        second.claim({})


def test_a_folder_that_can_not_take_results(tmp_path: Path) -> None:
    workspace = open_store(str(tmp_path))
    with pytest.raises(ConfigError, match=r"^--out .*: is the workspace; give another folder for the results$"):
        OutFolder(f"{tmp_path}/../{tmp_path.name}/", workspace, IDENTITY)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"can't be written at .*/file"):
        OutFolder(f"{tmp_path}/file/out", workspace, IDENTITY)
    with pytest.raises(ConfigError, match="two slashes are needed"):
        OutFolder("s3:/bucket/out", workspace, IDENTITY)
    opened(tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_ledger_has_a_line_for_each_image_set_aside(tmp_path: Path) -> None:
    aside = [("all/000000", Quarantined(key, "truncated", "cut", "ingest")) for key in ("k1", "k2")]
    counts = opened(tmp_path).write_ledger(aside, "{}.jpg".format)
    assert counts == {"quarantined": 2, "reasons": {"truncated": 2}}
    lines = [json.loads(line) for line in (tmp_path / "out/ledger.jsonl").read_text().splitlines()]
    assert [(line["shard"], line["key"], line["file"], line["reason"], line["stage"]) for line in lines] == [
        ("all/000000", "k1", "k1.jpg", "truncated", "ingest"),
        ("all/000000", "k2", "k2.jpg", "truncated", "ingest"),
    ]
