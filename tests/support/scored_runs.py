"""What tests of commands on a finished run share: its detections, and its export."""

from __future__ import annotations

from pathlib import Path

from pipelines.artifacts.detections import DetectionRow, decode_detections
from tests.support.chain import Chain
from tests.support.in_process import Outcome, sppnet


def val_keys(chain: Chain) -> list[str]:
    return (chain.data / "ImageSets" / "Main" / "val.txt").read_text().split()


def stored(chain: Chain, step: str) -> list[DetectionRow]:
    return [row for unit in chain.shards("val") for row in decode_detections(chain.artifact(step).read(unit), unit)]


def export(run: Path, step: str, out: Path, *more: str) -> Outcome:
    common = ("--workspace", str(run / "workspace"), "--out", str(out), "--json")
    return sppnet("export-detections", str(run / "recipe.yaml"), step, *common, *more)
