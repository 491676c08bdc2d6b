"""What is told under a name, and the nearest one of a misspelt name."""

from __future__ import annotations

import pytest

from jobs.reference.lookup import find
from sppnet.errors import ConfigError


def paths(name: str) -> list[str]:
    return [field.path for field in find(name).fields]


def test_a_field_is_told_with_those_below_it() -> None:
    assert paths("finetune.schedule") == ["schedule", "schedule.lr", "schedule.steps"]
    assert paths("finetune.schedule.lr") == ["schedule.lr"]
    assert paths("dataset.coco.splits.images") == ["splits.images"]
    assert paths("recipe.seed") == ["seed"]


def test_a_data_set_is_found_below_its_stage_too() -> None:
    assert find("ingest.dataset.coco") == find("dataset.coco")
    assert len(paths("dataset.coco")) > 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("finetun", "help finetun: no such stage, kind of data set or recipe; did you mean 'finetune'?"),
        (
            "dataset.cocoo",
            "help dataset.cocoo: no such stage, kind of data set or recipe; did you mean 'dataset.coco'?",
        ),
        ("voc7", "help voc7: no such stage, kind of data set or recipe; did you mean 'voc07'?"),
        ("finetune.bach", "help finetune.bach: no such field; did you mean 'finetune.batch'?"),
        ("finetune.schedule.lrr", "help finetune.schedule.lrr: no such field; did you mean 'finetune.schedule.lr'?"),
        ("run", "help run: that is a command, which tells its options itself: sppnet run --help"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find(name, ["run"])
    assert str(caught.value) == message


def test_the_kinds_are_named_where_none_is_near() -> None:
    with pytest.raises(ConfigError, match=r"known: .*finetune.*dataset"):
        find("zzzzzzzzzzzz")
