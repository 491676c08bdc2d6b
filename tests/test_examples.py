"""The examples run, and do what they say: here on a network that was never trained."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sppnet.bundle.files import write_bundle
from tests.support.small_bundle import small_bundle
from tests.support.source_tree import ROOT


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_detector_is_trained_in_a_dozen_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = example("train_a_detector")
    (tmp_path / "model.sppnet").write_bytes(write_bundle(small_bundle()))
    module.TRAINED, module.TRIED = 2, 2
    overlap = module.main(str(tmp_path / "model.sppnet"))
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert all(line.startswith("image 10") for line in told)
    image, box = module.draw(0)
    x0, y0, x1, y1 = box[0].astype(int)
    red = (image == (210, 40, 40)).all(axis=2)
    assert not np.delete(red, np.s_[y0:y1], axis=0).any()
    assert red[y0:y1, x0:x1].sum() == red.sum() > 100
    assert overlap > 0.1


def test_the_notebook_is_the_script_and_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Jupyter: cell by cell, in one namespace."""
    book = json.loads((ROOT / "examples/train_a_detector.ipynb").read_text())
    made = example("make_notebooks").notebook((ROOT / "examples/train_a_detector.py").read_text())
    assert book == made, "run `python examples/make_notebooks.py`"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    Path("model.sppnet").write_bytes(write_bundle(small_bundle()))
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102  # our own notebook
            names |= {"TRAINED": 2, "TRIED": 1} if "TRAINED" in names else {}
    shown = np.asarray(Image.open("ring.png"))
    assert shown.shape == (160, 200, 3)
    assert (shown == (20, 200, 60)).all(axis=2).sum() > 30


def test_the_program_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/detectors.md").read_text(), re.DOTALL)
    Path("model.sppnet").write_bytes(write_bundle(small_bundle()))
    Image.fromarray(np.full((80, 90, 3), 99, np.uint8)).save("street.jpg")
    windows = np.array([[0, 0, 40, 50]], np.float32)
    exec(compile(block, "docs/detectors.md", "exec"), {"windows": windows})  # noqa: S102  # our own page
