from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from jobs.bench.proposals import draw_annotated, fast_mode, read_annotated, run, same_work
from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError
from tests.support.drawn_scenes import OBJECTS, scene

_OBJECT = (
    "<object><name>box</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)


def write_scene(image: Path, xml: Path, boxes: np.ndarray) -> None:
    """Writes a scene with VOC's annotations: 1-based, inclusive; and the whole image as a difficult object."""
    for path in (image, xml):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), scene()[:, :, ::-1])
    objects = [_OBJECT.format(1, 1, 1, 160, 120), *(_OBJECT.format(0, x + 1, y + 1, u, v) for x, y, u, v in boxes)]
    size = "<size><width>160</width><height>120</height><depth>3</depth></size>"
    xml.write_text(f"<annotation>{size}{''.join(objects)}</annotation>")


def test_rows_have_both_sides_at_every_limit(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.png", tmp_path / "a.xml", OBJECTS.astype(int))
    threads = cv2.getNumThreads()
    rows = run(repeats=2, images=3, folder=str(tmp_path), limits=[1])
    assert cv2.getNumThreads() == threads
    peers = ["OpenCV, the same work"] * 2 + ["OpenCV's fast mode"] * 2
    assert [(row["peer"], row["limit"]) for row in rows] == list(zip(peers, [1, "all"] * 2, strict=True))
    for row in rows:
        assert (row["images"], row["objects"]) == (1, 2)
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    # Two plain rectangles are found by whoever looks at all windows, and a single window can't be both.
    assert [row[f"{side}_r70"] for row in rows[1::2] for side in ("ours", "peer")] == [1.0] * 4
    assert all(
        row[f"{side}_windows"] == 1 and row[f"{side}_r50"] <= 0.5 for row in rows[::2] for side in ("ours", "peer")
    )


@pytest.mark.parametrize("search", [same_work, fast_mode])
def test_opencv_finds_plain_objects_in_an_order_of_the_seed(search: object) -> None:
    first, again, other = (search(scene(), seed) for seed in (1, 1, 2))  # type: ignore[operator]
    assert np.array_equal(first, again)
    assert {tuple(w) for w in first.tolist()} == {tuple(w) for w in other.tolist()}
    assert len(first) == len({tuple(w) for w in first.tolist()})
    assert (first[:, 2:] - first[:, :2]).min() >= 20
    assert iou_matrix(OBJECTS, first).max(axis=1) == pytest.approx([1, 1], abs=0.1)


def test_annotations_lie_beside_images_or_beside_their_folder(tmp_path: Path) -> None:
    write_scene(tmp_path / "plain" / "a.png", tmp_path / "plain" / "a.xml", OBJECTS[:1].astype(int))
    write_scene(tmp_path / "JPEGImages" / "b.png", tmp_path / "Annotations" / "b.xml", OBJECTS.astype(int))
    write_scene(tmp_path / "plain" / "c.png", tmp_path / "elsewhere" / "c.xml", OBJECTS.astype(int))
    found = read_annotated(tmp_path, 9)
    assert [image.objects.tolist() for image in found] == [OBJECTS.tolist(), OBJECTS[:1].tolist()]
    assert np.array_equal(found[0].pixels, scene())
    assert len(read_annotated(tmp_path, 1)) == 1


def test_scenes_are_drawn_from_the_seed() -> None:
    first, again, other = (draw_annotated(1, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)
    assert len(first.objects) > 0


def test_a_folder_without_anything_to_find_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no image with VOC's XML"):
        run(folder=str(tmp_path))
    write_scene(tmp_path / "a.png", tmp_path / "a.xml", OBJECTS[:0].astype(int))
    with pytest.raises(ConfigError, match="none of 1 images has an object"):
        run(folder=str(tmp_path))
