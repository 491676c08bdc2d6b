"""What all commands share: their options, how they end, and how they open a run."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.recipes import find_recipe
from jobs.run.console import make_console, set_up_logging
from jobs.run.ending import DEFECT, Ending
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.executor import Executor
    from pipelines.engine.recipe import Recipe
    from pipelines.engine.runner import Engine
    from pipelines.engine.store import Store

logger = logging.getLogger(__name__)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A .yaml file, its URI, or a built-in recipe's name.")
]
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
GpusOption = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="N|auto",
        help="GPUs of each unit that computes on them, a fraction is allowed; 0 for none. Default: the recipe's, which "
        "is auto: one where there are any.",
    ),
]
TensorBoardOption = Annotated[
    str | None,
    typer.Option("--tensorboard", help="Write the curves of trainings to this folder, as TensorBoard's event files."),
]
MlflowOption = Annotated[
    str | None, typer.Option("--mlflow", metavar="URI", help="Log the curves of trainings to this MLflow.")
]
WandbOption = Annotated[
    str | None,
    typer.Option("--wandb", metavar="PROJECT", help="Log the curves of trainings to this project of Weights & Biases."),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]

DEFAULT_WORKSPACE = "./workspace"


class Result:
    """What a command prints as JSON.

    Attributes:
        fields: Its values.
        as_json: Whether it is printed.
    """

    def __init__(self, command: str, as_json: bool) -> None:
        self.fields: dict[str, Any] = {"command": command, "exit_code": 0}
        self.as_json = as_json

    def emit(self) -> None:
        """End the output with the JSON line, if it was asked for."""
        if self.as_json:
            print(json.dumps(self.fields), flush=True)  # noqa: T201


@contextmanager
def command(name: str, as_json: bool, verbose: bool = False) -> Iterator[Result]:
    """Turn errors into one line and the documented exit code, and end the output with JSON if asked to."""
    set_up_logging(verbose)
    result = Result(name, as_json)
    ending = Ending()
    try:
        yield result
    except (
        Exception,
        KeyboardInterrupt,
        SystemExit,
    ) as error:  # the boundary: a defect ends with one line and JSON too
        ending = Ending.of(error)
        if ending.exit_code == DEFECT:
            logger.exception("unexpected error in sppnet %s", name)
    if ending.error:
        result.fields["error"] = ending.error
        print(f"sppnet: {ending.error}", file=sys.stderr)  # noqa: T201
    result.fields["exit_code"] = ending.exit_code
    result.emit()
    if ending.exit_code:
        raise typer.Exit(ending.exit_code)


def open_engine(
    recipe: str, workspace: str, overrides: list[str] | None, *, gpus: str | None = None, fresh: bool = False
) -> Engine:
    """Open a recipe, with its overrides, in a workspace.

    Args:
        recipe: A built-in recipe's name, or a file.
        workspace: Folder or URI.
        overrides: `step.field=value`.
        gpus: GPUs of every unit that computes on them; None for what the recipe says.
        fresh: Whether data sets and files outside the workspace are looked at anew; else what was found last counts,
            so that they need not be there any more.
    """
    from pipelines.engine.asked_for import check_given
    from pipelines.engine.recipe import load_recipe
    from pipelines.engine.runner import Engine
    from pipelines.engine.workspace import Workspace

    loaded, where = load_recipe(find_recipe(recipe), overrides or (), gpus), Workspace.open(workspace)
    check_given(loaded)  # before anything is measured
    return Engine(_decided(loaded, where.store, fresh=fresh), where, None if fresh else ())


def _decided(recipe: Recipe, store: Store, *, fresh: bool) -> Recipe:
    """Decide what the recipe leaves to the run, and say why where it is run."""
    if not any(config.stage == "extract" for config in recipe.steps.values()):
        return recipe
    from jobs.plan.keeping_rates import decide_here

    decided, why = decide_here(recipe, store, measure=fresh)
    if fresh:
        for line in why:
            make_console().print(line)
    return decided


def executor_maker(local: bool, address: str | None, cpus: int | None) -> Callable[[], Executor]:
    """Return what makes the executor that the options `--local`, `--address` and `--cpus` ask for.

    Raises:
        ConfigError: The options contradict one another.
    """
    if local and address is not None:
        raise ConfigError("--local runs without Ray, --address joins one: give one of them")

    def make() -> Executor:
        if local:
            from pipelines.executors.local import LocalExecutor

            return LocalExecutor()
        from pipelines.executors.ray_core import RayExecutor

        return RayExecutor(address=address, num_cpus=cpus)

    return make
