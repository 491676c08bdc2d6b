"""Networks as ONNX: another runtime computes what torch does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.chain import Chain
from tests.support.in_process import sppnet


def test_without_the_extra_it_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    where, out = ("--workspace", run / "workspace"), tmp_path / "out"
    outcome = sppnet("export", run / "recipe.yaml", "full", tmp_path / "a.sppnet", "--onnx", out, *where)
    assert (outcome.code, outcome.json["error"]) == (2, "--onnx needs onnx: pip install 'sppnet[onnx]'")
    assert list(tmp_path.iterdir()) == []
    outcome = sppnet("export", run / "recipe.yaml", "network", tmp_path / "a.pth", "--onnx", out, *where)
    assert outcome.json["error"].endswith("--onnx goes with a whole detector, .sppnet")


def test_onnxruntime_gives_the_models_maps_and_features(run: Path, chain: Chain, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    import torch

    import sppnet as package

    file, out = tmp_path / "a.sppnet", tmp_path / "out"
    outcome = sppnet(
        "export", run / "recipe.yaml", "full", file, "--onnx", out, "--workspace", run / "workspace", "--json"
    )
    assert outcome.code == 0, outcome.lines
    assert all(0 <= difference < 1e-4 for difference in outcome.json["onnx_differences"].values())
    assert {path.name for path in out.iterdir()} == set(outcome.json["onnx_differences"])
    bundle = package.load(file)
    backbone = bundle._maker.backbone
    session = runtime.InferenceSession(str(out / "backbone.onnx"))
    images = torch.randn(2, 3, 190, 251)
    with torch.inference_mode():
        wanted = backbone(images).numpy()
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())
