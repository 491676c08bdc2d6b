"""`sppnet score --draw`: a picture for each image, its boxes where they were found, in its category's colour."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.apply.drawn import COLOURS, Mark, draw_marks
from pipelines.artifacts.detections import decode_detections
from tests.support.chain import CATEGORIES, Chain
from tests.support.in_process import sppnet
from tests.support.scored_runs import val_keys


def near(image: np.ndarray, colour: str) -> np.ndarray:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.abs(image.astype(int) - wanted).max(axis=2) < 60


def test_marks_are_where_they_belong() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    marks = [Mark("cat 1.20", COLOURS[0], (20, 60, 120, 160)), Mark("dog 0.30", COLOURS[4], (150, 60, 280, 190))]
    drawn = np.asarray(draw_marks(image, marks))
    assert drawn.shape == image.shape
    assert near(drawn, COLOURS[0])[70:150, 20:23].all()
    assert near(drawn, COLOURS[4])[70:180, 150:153].all()
    assert not near(drawn, COLOURS[0])[:, 140:].any()
    assert near(drawn, COLOURS[0])[36:60, 20:100].mean() > 0.3  # the label above the box
    assert (draw_marks(image, []).tobytes(), image.tobytes()) == (image.tobytes(), image.tobytes())


def test_each_image_has_a_picture(chain: Chain, run: Path, tmp_path: Path) -> None:
    corpus, out, pictures = tmp_path / "in", tmp_path / "out", tmp_path / "pictures"
    (corpus / "clip").mkdir(parents=True)
    for key in val_keys(chain)[:2]:
        shutil.copy(chain.data / "JPEGImages" / f"{key}.jpg", corpus / "clip")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (150, 170, 3), np.uint8)).save(corpus / "noise.png")
    common = ("--recipe", run / "recipe.yaml", "--workspace", run / "workspace", "--local", "--detector", "full")
    outcome = sppnet("score", corpus, "--out", out, "--draw", pictures, "--threshold", "-1.2", *common)
    assert (outcome.code, outcome.json["drawn"]) == (0, 3), outcome.lines
    names = {str(path.relative_to(pictures)) for path in pictures.rglob("*.jpg")}
    assert names == {f"clip/{key}.jpg" for key in val_keys(chain)[:2]} | {"noise.jpg"}
    rows = [row for path in (out / "all").iterdir() for row in decode_detections(path.read_bytes(), "x")]
    best = max((row for row in rows if row.key != "noise"), key=lambda row: row.score)
    drawn = np.asarray(Image.open(pictures / f"{best.key}.jpg"))
    assert drawn.shape == np.asarray(Image.open(corpus / f"{best.key}.jpg")).shape
    x0, y0, x1, y1 = map(round, best.regressed)
    colour = COLOURS[CATEGORIES.index(best.category)]
    seen = near(drawn, colour)  # labels of others may lie on a side of so small a picture
    assert (
        max(seen[y0 : y0 + 3, x0:x1].mean(), seen[y1 - 4 : y1 - 1, x0:x1].mean(), seen[y0:y1, x0 : x0 + 3].mean()) > 0.4
    )
    again = sppnet("score", corpus, "--out", out, "--draw", pictures, "--threshold", "-1.2", *common)
    assert (again.code, again.json["drawn"]) == (0, 0)
    other = sppnet("score", corpus, "--out", tmp_path / "o", "--draw", pictures, "--threshold", "0.5", *common)
    assert "its files were written with" in other.json["error"]
    same = sppnet("score", corpus, "--out", out, "--draw", out, *common)
    assert same.code == 2
