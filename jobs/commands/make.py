"""`sppnet run` and `sppnet demo`: making a recipe's artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    AddressOption,
    CpusOption,
    GpusOption,
    JsonOption,
    LocalOption,
    MlflowOption,
    RecipeArgument,
    Result,
    SetOption,
    TensorBoardOption,
    VerboseOption,
    WandbOption,
    WorkspaceOption,
    command,
    executor_maker,
    open_engine,
)
from jobs.run.console import make_console

if TYPE_CHECKING:
    from jobs.curves.watching import CurveSink
    from jobs.run.results import DetectorFigures
    from pipelines.engine.executor import Executor
    from pipelines.engine.runner import Engine
    from pipelines.engine.schedule import Observer


def run(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    tensorboard: TensorBoardOption = None,
    mlflow: MlflowOption = None,
    wandb: WandbOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make everything of a recipe that is missing, then the report. Run it again after any failure: it goes on."""
    with command("run", as_json, verbose) as result:
        maker = executor_maker(local, address, cpus)
        engine = open_engine(recipe, workspace, overrides, gpus=gpus, fresh=True)
        _run(engine, maker, result, Curves(tensorboard, mlflow, wandb))


def demo(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    tensorboard: TensorBoardOption = None,
    mlflow: MlflowOption = None,
    wandb: WandbOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the recipe `demo`: the whole detection chain, on a data set that its first step draws."""
    with command("demo", as_json, verbose) as result:
        maker = executor_maker(local, address, cpus)
        engine = open_engine("demo", workspace, overrides, gpus=gpus, fresh=True)
        _run(engine, maker, result, Curves(tensorboard, mlflow, wandb))


def _run(engine: Engine, make_executor: Callable[[], Executor], result: Result, curves: Curves) -> None:
    from jobs.report.page.collect import collect
    from jobs.report.page.render import render
    from jobs.run.making import make_missing
    from jobs.run.results import class_results_table

    console = make_console()
    with _watched(engine, curves) as observers:
        made = make_missing(engine, make_executor, console, *observers)
    result.fields.update(
        run=engine.recipe.name,
        folder=str(made.folder.key),
        workspace=engine.workspace.store.uri,
        seconds=made.seconds,
        **made.result.to_json(),
    )
    result.fields["report"] = made.folder.write_report(render(collect(engine)))
    for name, row in made.result.steps.items():
        console.print(f"{name}: {_figures(row)}")
    if made.result.classes:
        console.print(class_results_table(made.result.classes))
    console.print(f"report: {result.fields['report']}")
    made.check()


@dataclass(frozen=True, slots=True)
class Curves:
    """Where the curves of trainings go: a folder, a URI and a project, or None."""

    tensorboard: str | None
    mlflow: str | None
    wandb: str | None

    def sinks(self, run: str) -> Iterator[CurveSink]:
        """Make what takes them."""
        if self.tensorboard is not None:
            from jobs.curves.tensorboard import TensorBoardCurves

            yield TensorBoardCurves(self.tensorboard, run)
        if self.mlflow is not None:
            from jobs.curves.mlflow_runs import MlflowCurves

            yield MlflowCurves(self.mlflow, run)
        if self.wandb is not None:
            from jobs.curves.wandb_runs import WandbCurves

            yield WandbCurves(self.wandb, run)


@contextmanager
def _watched(engine: Engine, curves: Curves) -> Iterator[list[Observer]]:
    """Give what hands on the curves of trainings, as far as that is asked for."""
    sinks = list(curves.sinks(engine.recipe.name))
    if not sinks:
        yield []
        return
    from jobs.curves.watching import CurveObserver

    with ExitStack() as stack:
        observers: list[Observer] = []
        for sink in sinks:
            observer = CurveObserver(sink)
            stack.callback(observer.close)
            observers.append(observer)
        yield observers


def _figures(row: DetectorFigures) -> str:
    """Tell a detector's means as its protocol has them."""
    if row.coco:
        return ", ".join(f"{title} {_percent(value)}" for title, value in row.coco.items())
    voc07 = "" if row.voc07_map is None else f"VOC07 mAP {_percent(row.voc07_map)}, "
    return f"{voc07}area mAP {_percent(row.area_map)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
