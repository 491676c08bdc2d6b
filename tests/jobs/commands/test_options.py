"""How every command ends: JSON last, one line for an error, the documented exit code; and how it opens a run."""

from __future__ import annotations

import json

import pytest
import typer

from jobs.commands.options import command, executor_maker, open_engine
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ConfigError, IncompleteError
from tests.support.chain import Chain, write_recipe


def test_a_command_that_is_done_ends_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with command("try", as_json=True) as result:
        result.fields["found"] = 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"command": "try", "exit_code": 0, "found": 3}
    assert err == ""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (IncompleteError("2 units\nfailed"), 3, "2 units failed"),
        (KeyboardInterrupt(), 130, "interrupted; finished units are kept, run again to go on"),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero"),
    ],
)
def test_an_error_is_one_line_and_its_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    with pytest.raises(typer.Exit) as exited, command("try", as_json=True):
        raise error
    out, err = capsys.readouterr()
    assert exited.value.exit_code == code
    assert json.loads(out) == {"command": "try", "exit_code": code, "error": line}
    assert err == f"sppnet: {line}\n"


def test_without_json_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with command("try", as_json=False) as result:
        result.fields["found"] = 3
    assert capsys.readouterr().out == ""


def test_a_recipe_is_opened_with_its_overrides(chain: Chain, tmp_path) -> None:
    recipe = str(write_recipe(tmp_path / "recipe.yaml", chain.steps))
    engine = open_engine(recipe, str(tmp_path / "ws"), ["svms.rounds=1", "seed=7"])
    assert (engine.recipe.steps["svms"].rounds, engine.recipe.seed) == (1, 7)
    assert engine.workspace.store.uri == str(tmp_path / "ws")
    with pytest.raises(ConfigError, match="no recipe 'nothing'"):
        open_engine("nothing", str(tmp_path), None)


def test_local_is_this_process() -> None:
    assert isinstance(executor_maker(local=True, address=None, cpus=None)(), LocalExecutor)


def test_local_and_an_address_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"^--local runs without Ray, --address joins one: give one of them$"):
        executor_maker(local=True, address="127.0.0.1:6379", cpus=None)
