"""What all commands share: their options, how they end, and how they open a run."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.extras import missing_extra
from jobs.recipes import find_recipe
from jobs.run.console import set_up_logging
from sppnet.errors import ConfigError, SppError

if TYPE_CHECKING:
    from pipelines.engine.executor import Executor
    from pipelines.engine.runner import Engine

logger = logging.getLogger(__name__)

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A .yaml file, or a built-in recipe's name.")]
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Root of all artifacts: a folder or s3://bucket/prefix.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="STEP.FIELD=VALUE", help="Override a recipe value; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="End the output with one JSON line.")]
LocalOption = Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="host:port of a Ray cluster; default: a local Ray of its own.")
]
CpusOption = Annotated[int | None, typer.Option("--cpus", min=1, help="CPUs of the local Ray; default: all.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]

DEFAULT_WORKSPACE = "./workspace"


class Result:
    """What a command prints as JSON."""

    def __init__(self, command: str, as_json: bool) -> None:
        self.fields: dict[str, Any] = {"command": command, "exit_code": 0}
        self.as_json = as_json

    def emit(self) -> None:
        """Ends the output with the JSON line, if it was asked for."""
        if self.as_json:
            print(json.dumps(self.fields), flush=True)  # noqa: T201


@contextmanager
def command(name: str, as_json: bool, verbose: bool = False) -> Iterator[Result]:
    """Turns errors into one line and the documented exit code, and ends the output with JSON if asked to."""
    set_up_logging(verbose)
    result = Result(name, as_json)
    code = 0
    try:
        yield result
    except SppError as error:
        code = error.exit_code
        result.fields["error"] = " ".join(str(error).split())
    except KeyboardInterrupt:
        code = 130
        result.fields["error"] = "interrupted; finished units are kept, run again to go on"
    except Exception as error:  # the command's boundary: a defect ends with its trace, one line and JSON too
        line = missing_extra(error)
        code = ConfigError.exit_code if line else 1
        if not line:
            logger.exception("unexpected error in sppnet %s", name)
        result.fields["error"] = line or " ".join(f"{type(error).__name__}: {error}".split())
    if code:
        print(f"sppnet: {result.fields['error']}", file=sys.stderr)  # noqa: T201
    result.fields["exit_code"] = code
    result.emit()
    if code:
        raise typer.Exit(code)


def open_engine(recipe: str, workspace: str, overrides: list[str] | None) -> Engine:
    """Opens a recipe, with its overrides, in a workspace."""
    from pipelines.engine.recipe import load_recipe
    from pipelines.engine.runner import Engine
    from pipelines.engine.workspace import Workspace

    return Engine(load_recipe(find_recipe(recipe), overrides or ()), Workspace.open(workspace))


def make_executor(local: bool, address: str | None, cpus: int | None) -> Executor:
    """Makes the executor that the options `--local`, `--address` and `--cpus` ask for."""
    if local:
        from pipelines.executors.local import LocalExecutor

        return LocalExecutor()
    from pipelines.executors.ray_core import RayExecutor

    return RayExecutor(address=address, num_cpus=cpus)
