"""Making what is missing of a run, watched: progress for a person, events for the workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.run.events import EventLog, Observers
from jobs.run.progress import ProgressObserver
from pipelines.engine.executor import DeferredExecutor
from sppnet.errors import SppError

if TYPE_CHECKING:
    from pipelines.engine.executor import Executor
    from pipelines.engine.runner import Engine, StepSummary


def make_missing(engine: Engine, make_executor: Callable[[], Executor], console: Console) -> Sequence[StepSummary]:
    """Records the recipe in the run's folder, then makes the units that are missing.

    Args:
        engine: The run.
        make_executor: Makes the executor, if there is anything to run.
        console: Where progress is shown.

    Returns:
        The account of each step, in the order of the recipe.

    Raises:
        SppError: As `Engine.run` does; the failure is in the run's events too.
    """
    events = EventLog(engine.workspace, engine.recipe.name)
    progress = ProgressObserver(console)
    engine.workspace.check_writable()
    engine.workspace.store.put(f"runs/{engine.recipe.name}/recipe.yaml", engine.recipe.to_yaml().encode())
    events.record("run_started", recipe=engine.recipe.source)
    executor = DeferredExecutor(make_executor)
    try:
        return engine.run(executor, Observers(progress, events))
    except SppError as error:
        events.record("run_failed", error=str(error), exit_code=error.exit_code)
        raise
    finally:
        progress.close()
        executor.close()
        events.flush()
