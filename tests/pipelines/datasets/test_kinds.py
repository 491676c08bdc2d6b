"""Kinds of data sets, found by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_core import PydanticCustomError

from pipelines.datasets.kinds import KINDS, dataset_config, parse_dataset
from pipelines.datasets.voc import VocDataset
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_where_the_registry_says(kind: str) -> None:
    assert dataset_config(kind).model_fields["kind"].default == kind


def test_a_config_is_that_of_its_kind() -> None:
    assert parse_dataset({"root": "x"}) == VocDataset(root="x")
    assert parse_dataset({"kind": "images", "root": "x"}).kind == "images"
    assert parse_dataset("x") == "x"  # for pydantic to refuse
    config = VocDataset(root="x")
    assert parse_dataset(config) is config


@pytest.mark.parametrize(
    ("kind", "message"), [("foldres", "did you mean 'folders'"), ("xyz", "known: voc, folders, images"), (3, "'3'")]
)
def test_an_unknown_kind_is_told(kind: object, message: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_dataset({"kind": kind, "root": "x"})
    assert message in str(caught.value)


def test_only_the_kind_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from pipelines.datasets.kinds import KINDS, parse_dataset; parse_dataset({'root': 'x'}); "
        "print([kind for kind, place in KINDS.items() if place.split(':')[0] in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout.strip() == "['voc']"
