"""Generated inputs of all kinds through ingest and `score`: every key is done or set aside, and memory is bounded.

`make fuzz` tries many: SPPNET_FUZZ says how many, SPPNET_FUZZ_SEED which.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path

import pytest

from jobs.apply.out_folder import LEDGER
from pipelines.datasets.keys import key_of
from pipelines.datasets.tar_keys import tar_names
from tests.support.chain import Chain, write_recipe
from tests.support.fuzzed import BOMBS, EXTENSIONS, Fuzz, write_odd_files
from tests.support.in_process import Outcome, sppnet

COUNT = int(os.environ.get("SPPNET_FUZZ", "300"))
SEED = int(os.environ.get("SPPNET_FUZZ_SEED", "0"))
SAMPLES = 3
MOST_BYTES = 1 << 30
"""Of memory that all of it may take beside what was there before."""
VOC, FILES, TARS = (COUNT * part // 10 for part in (4, 3, 1))  # each tar has three inputs


@pytest.fixture(autouse=True)
def bounded():
    """Peak memory of this process grows by no more than the bound."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MOST_BYTES


def ingested(folder: Path, dataset: Mapping[str, object]) -> tuple[Chain, dict[str, str], Outcome]:
    """Runs ingest alone. Returns it, the reasons of what was set aside by key, and how the command ended."""
    steps = {"images": {"stage": "ingest", "dataset": dict(dataset), "max_quarantined": 1, "min_side": 2}}
    recipe = write_recipe(folder / "recipe.yaml", steps)
    outcome = sppnet("run", recipe, "--workspace", folder / "ws", "--local")
    chain = Chain(folder, steps, folder / "ws")
    aside = {}
    for shard in chain.manifest.shards("train"):
        commit = chain.artifact("images").commit(chain.manifest.annotations(shard.images))
        aside |= {entry.key: entry.reason for entry in commit.quarantined}
        known = [*chain.annotations(shard.images), *(entry.key for entry in commit.quarantined)]
        assert sorted(known) == sorted(shard.keys)
    return chain, aside, outcome


def test_voc(tmp_path: Path) -> None:
    fuzz, root = Fuzz(SEED), tmp_path / "voc"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for number in range(VOC):
        image, note = fuzz.image_and_note()
        (root / "JPEGImages" / f"{number:05d}.{fuzz.one_of(EXTENSIONS)}").write_bytes(image)
        if fuzz.chance(0.97):
            (root / "Annotations" / f"{number:05d}.xml").write_bytes(note)
    (root / "categories.txt").write_text("cup\n")
    odd = write_odd_files(root / "JPEGImages")
    (root / "Annotations" / "00000.xml").unlink(missing_ok=True)
    os.mkfifo(root / "Annotations" / "00000.xml")
    names = [*(f"{number:05d}" for number in range(VOC)), *odd]
    (root / "ImageSets/Main/train.txt").write_text("\n".join(names))
    chain, aside, outcome = ingested(tmp_path, {"kind": "voc", "root": str(root), "splits": ["train"]})
    assert outcome.code == 0, outcome.lines
    assert chain.manifest.count("train") == len(names)
    assert odd.keys() <= aside.keys()
    assert {"00000"} < aside.keys() < {*names}


def write_tars(folder: Path, fuzz: Fuzz) -> int:
    """Writes tars, also bombs; returns how many samples are in those that are surely whole."""
    folder.mkdir(parents=True)
    sure = 0
    for number in range(TARS):
        data, whole = fuzz.tar(SAMPLES)
        (folder / f"{number:05d}.{fuzz.one_of(('tar', 'TAR', 'tar.gz', 'tgz'))}").write_bytes(data)
        sure += whole or 0
    for name, make in BOMBS.items():
        (folder / f"{name}.tar").write_bytes(make())
    return sure


def test_tars(tmp_path: Path) -> None:
    fuzz = Fuzz(SEED + 1)
    sure = write_tars(tmp_path / "tars", fuzz)
    dataset = {"kind": "tars", "root": str(tmp_path / "tars"), "splits": {"train": ["*"]}, "labelled": False}
    chain, aside, outcome = ingested(tmp_path, {**dataset, "categories": [str(n) for n in range(9)]})
    assert outcome.code == 3, outcome.lines
    assert "shards set aside" in outcome.json["error"]
    shards = {key for key, reason in aside.items() if reason.startswith("shard-")}
    assert set(tar_names([f"{name}.tar" for name in BOMBS])) <= shards
    assert chain.manifest.count("train") - len(shards) >= sure > 0
    assert len(aside) < chain.manifest.count("train")


def test_score(chain: Chain, run: Path, tmp_path: Path) -> None:
    fuzz, images = Fuzz(SEED + 2), tmp_path / "corpus" / "images"
    images.mkdir(parents=True)
    names = [f"{fuzz.key(number)}.{fuzz.one_of(EXTENSIONS)}" for number in range(FILES)]
    for name in names:
        (images / name).write_bytes(fuzz.image())
    odd = write_odd_files(images)
    write_tars(tmp_path / "corpus" / "tars", fuzz)
    common = ("--recipe", run / "recipe.yaml", "--workspace", run / "workspace", "--detector", "plain", "--local")
    corpus = [images, *sorted((tmp_path / "corpus" / "tars").iterdir())]
    outcome = sppnet("score", *corpus, *common, "--out", tmp_path / "out", "--max-quarantined", "1")
    assert outcome.code == 3, outcome.lines
    found = outcome.json
    lines = [json.loads(line) for line in (tmp_path / "out" / LEDGER).read_text().splitlines()]
    aside = {line["key"]: line["reason"] for line in lines}
    assert len(aside) == len(lines) == found["quarantined"]
    files = {f"images/{key_of(name)}" for name in names}
    assert {f"images/{key}": aside[f"images/{key}"] for key in odd if odd[key]} == {
        f"images/{key}": reason for key, reason in odd.items() if reason
    }
    assert found["images"] > 0
    done = found["images"] + len(aside)
    assert done >= len(files) + len(odd) + len(BOMBS)
    assert {reason for reason in aside.values() if reason.startswith("shard-")} == {"shard-broken", "shard-empty"}
