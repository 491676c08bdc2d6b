"""The command `sppnet help`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from tests.support.source_tree import ROOT


def invoke(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["help", *words])
    return result.exit_code, result.stdout, result.stderr


def test_without_a_name_it_tells_the_stages() -> None:
    code, out, _ = invoke()
    assert code == 0
    assert {"ingest", "finetune", "dataset.coco", "recipe"} <= {line.split(" ")[0] for line in out.split("\n")}


def test_a_field_is_told() -> None:
    code, out, _ = invoke("finetune.batch")
    assert code == 0
    assert "  batch: integer from 2; default 128; windows\n      Windows of a batch, over all workers.\n" in out


def test_a_misspelt_name_is_a_wrong_usage() -> None:
    message = "sppnet: help finetune.bach: no such field; did you mean 'finetune.batch'?\n"
    assert invoke("finetune.bach") == (2, "", message)
    assert invoke("run")[2].endswith(": that is a command, which tells its options itself: sppnet run --help\n")


def test_a_built_in_recipe_is_told() -> None:
    code, out, _ = invoke("voc07")
    assert code == 0
    assert out.startswith("recipe voc07\n\nDetection on PASCAL VOC2007 photographs")
    code, line, _ = invoke("voc07", "--json")
    assert (code, json.loads(line)["recipe"]["steps"]["maps"]) == (0, "extract")


def test_json_is_one_line_and_nothing_else() -> None:
    code, out, _ = invoke("finetune.batch", "--json")
    told = json.loads(out)
    assert (code, told["command"], told["exit_code"]) == (0, "help", 0)
    assert [field["path"] for field in told["sections"][0]["fields"]] == ["batch"]


@pytest.mark.parametrize(("option", "file"), [("--markdown", "fields.md"), ("--schema", "recipe.schema.json")])
def test_what_the_docs_keep_is_what_it_prints(option: str, file: str) -> None:
    assert invoke(option) == (0, (ROOT / "docs" / file).read_text(), "")


@pytest.mark.parametrize("words", [("finetune", "--schema"), ("--markdown", "--schema"), ("--json", "--schema")])
def test_it_tells_one_thing_at_a_time(words: tuple[str, ...]) -> None:
    assert invoke(*words)[0] == 2
