"""Bad images through the real command: each is quarantined with its reason while the rest goes on to the end."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ObjectAnnotation
from tests.support.chain import add_image, make_steps
from tests.support.in_process import Bench, Outcome

PIXELS = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
CAR = ObjectAnnotation("car", (30, 20, 90, 70))


def spoil(data: Path) -> tuple[dict[str, str], list[str]]:
    """Adds every kind of bad image to `train`. Returns the reasons expected by key, and the odd keys that are fine."""
    images, notes = data / "JPEGImages", data / "Annotations"

    def add(key: str, *objects: ObjectAnnotation, pixels: np.ndarray = PIXELS) -> Path:
        return add_image(data, "train", key, pixels, objects or (CAR,), place=len(reasons))

    reasons = {"cut": "truncated"}
    path = add("cut")
    path.write_bytes(path.read_bytes()[:-200])
    reasons["text"] = "not-an-image"
    add("text").write_text("This is not an image.\n")
    reasons["dot"] = "too-small"
    add_image(data, "train", "dot", PIXELS[:1, :1])
    reasons["huge"] = "too-large"
    add_image(data, "train", "huge", PIXELS).unlink()
    Image.new("1", (12_000, 12_000)).save(images / "huge.png")
    (notes / "huge.xml").write_text((notes / "huge.xml").read_text().replace("120", "12000").replace("90", "12000"))
    reasons["reversed"] = "bad-box"
    add("reversed", ObjectAnnotation("car", (90, 20, 30, 70)))
    reasons["outside"] = "box-outside-image"
    add("outside", ObjectAnnotation("car", (90, 20, 180, 70)))
    reasons["unknown"] = "unknown-category"
    add("unknown", ObjectAnnotation("unicorn", (30, 20, 90, 70)))
    reasons["unannotated"] = "missing-annotation"
    add("unannotated")
    (notes / "unannotated.xml").unlink()
    reasons["gone"] = "missing-image"
    add("gone").unlink()
    reasons["scribble"] = "bad-annotation"
    add("scribble")
    (notes / "scribble.xml").write_text("<annotation><size>")
    reasons["turned"] = "size-mismatch"
    Image.fromarray(np.ascontiguousarray(PIXELS.transpose(1, 0, 2))).save(add("turned"))

    fine = ["grey", "cmyk", "empty"]
    Image.fromarray(PIXELS).convert("L").save(add("grey"))
    Image.fromarray(PIXELS).convert("CMYK").save(add("cmyk"))
    add_image(data, "train", "empty", PIXELS, (), place=3)
    return reasons, fine


OF_THE_IMAGE = ("cut", "text", "dot", "huge", "gone")
"""Those whose image can't be used; of the others it is the annotation."""


@pytest.fixture(scope="module")
def spoiled(drawn, weights_file, tmp_path_factory) -> tuple[Bench, dict[str, str], list[str], Outcome]:
    """The whole chain on a data set with every kind of bad image."""
    folder = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(drawn, folder / "data")
    reasons, fine = spoil(folder / "data")
    bench = Bench(folder, make_steps(folder / "data", weights_file))
    return bench, reasons, fine, bench.run("images.max_quarantined=0.6")


def test_the_rest_goes_on_to_the_end(spoiled) -> None:
    bench, reasons, _, outcome = spoiled
    assert outcome.code == 0
    assert outcome.json["voc07_map"] > 0
    assert outcome.json["stages"]["images"]["quarantined"] == len(reasons) == 11
    assert Path(outcome.json["report"]).is_file()
    status = bench.status("images.max_quarantined=0.6").json
    assert status["complete"] is True
    for row in status["steps"]:
        assert row["committed"] == row["total"]


@pytest.mark.parametrize(
    "key",
    ["cut", "text", "dot", "huge", "reversed", "outside", "unknown", "unannotated", "gone", "scribble", "turned"],
)
def test_each_bad_image_has_its_reason_in_the_ledger_and_on_the_screen(spoiled, key: str) -> None:
    bench, reasons, _, outcome = spoiled
    artifact = bench.chain().artifact("images")
    entries = [q for unit in artifact.committed() for q in artifact.commit(unit).quarantined if q.key == key]
    assert {(q.reason, q.stage) for q in entries} == {(reasons[key], "ingest")}
    assert len(entries) == (2 if key in OF_THE_IMAGE else 1)  # of the image, and where labels are asked for
    assert "\n" not in entries[0].detail
    shown = [line for line in outcome.lines if line.startswith(f"images: quarantined {key}: ")]
    assert shown == [f"images: quarantined {key}: {reasons[key]}: {entries[0].detail}"]


def test_status_counts_the_reasons(spoiled) -> None:
    bench, reasons, _, _ = spoiled
    rows = {row["step"]: row for row in bench.status("images.max_quarantined=0.6").json["steps"]}
    for step in ("images", "svms"):
        assert rows[step]["reasons"] == dict(Counter(reasons.values()))
    for step in ("windows", "maps"):  # an image whose annotation can't be used is an image all the same
        assert rows[step]["reasons"] == dict(Counter(reasons[key] for key in OF_THE_IMAGE))
    assert rows["images"]["quarantined"] == 11
    assert rows["plain"]["quarantined"] == 0


@pytest.mark.parametrize("key", ["grey", "cmyk", "empty"])
def test_odd_images_that_are_fine_are_used(spoiled, key: str) -> None:
    bench = spoiled[0]
    chain = bench.chain()
    manifest = chain.manifest
    unit = next(unit for unit in manifest.units("train") if key in manifest.keys(unit))
    commit = chain.artifact("svms").commit(f"gather/{unit}")
    assert key not in {entry.key for entry in commit.quarantined}
    assert commit.done + len(commit.quarantined) == len(manifest.keys(unit))


def test_too_many_quarantined_is_4_and_running_again_with_a_higher_limit_goes_on(bench) -> None:
    (bench.data / "JPEGImages" / "train_00001.jpg").write_bytes(b"")
    outcome = bench.run("images.max_quarantined=0.05")
    assert outcome.code == 4
    expected = r"step images: 1 of 18 keys quarantined (1 not-an-image; first: train_00001: 0 bytes"
    assert outcome.json["error"].startswith(expected)
    assert "more than max_quarantined=0.05; mend the inputs or raise steps.images.max_quarantined" in outcome.lines[-1]
    rows = {row["step"]: row for row in bench.status().json["steps"]}
    assert rows["images"]["reasons"] == {"not-an-image": 1}
    before = {p: p.stat().st_mtime_ns for p in bench.workspace.glob("images-*/_commits/**/*.json")}
    steps = {name: bench.steps[name] for name in ("images", "windows")}
    again = Bench(bench.folder, steps).run("images.max_quarantined=0.1")
    assert again.code == 0
    assert {p: p.stat().st_mtime_ns for p in bench.workspace.glob("images-*/_commits/**/*.json")} == before


def test_brackets_in_messages_are_shown_as_they_are(bench) -> None:
    """`[car]` or a box would be taken for markup by the console."""
    add_image(bench.data, "train", "odd", PIXELS, [ObjectAnnotation("[/car]", (1, 2, 30, 40))])
    bench.steps = {"images": bench.steps["images"]}
    outcome = bench.run("images.max_quarantined=1")
    assert outcome.code == 0
    assert (
        "images: quarantined odd: unknown-category: odd: '[/car]' is not a category of this data set" in outcome.lines
    )
