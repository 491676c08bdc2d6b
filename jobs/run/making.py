"""Making what is missing of a run, watched: progress for a person, events and an account for the run's folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.run.ending import Ending
from jobs.run.events import EventLog
from jobs.run.explain import outside_changes
from jobs.run.going import going_on
from jobs.run.history import RunFolder, start_run
from jobs.run.observers import Accounts, Observers
from jobs.run.progress import ProgressObserver
from jobs.run.results import RunResult
from jobs.run.summary import RunSummary, read_summary, write_summary
from pipelines.engine.executor import DeferredExecutor
from pipelines.engine.ledger import shards_missing
from sppnet.errors import IncompleteError, SppError

if TYPE_CHECKING:
    from pipelines.engine.executor import Executor
    from pipelines.engine.runner import Engine
    from pipelines.engine.schedule import Observer

logger = logging.getLogger(__name__)

_CHANGES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class MadeRun:
    """A run that is complete.

    Attributes:
        folder: Where it is recorded.
        result: What it found out.
        seconds: What this attempt took.
        missing: Set where whole shards of the inputs were set aside, else None.
    """

    folder: RunFolder
    result: RunResult
    seconds: float
    missing: IncompleteError | None = None

    def check(self) -> None:
        """Raise `IncompleteError` if whole shards of the inputs were set aside: the last thing that a command does."""
        if self.missing is not None:
            raise self.missing


def make_missing(
    engine: Engine, make_executor: Callable[[], Executor], console: Console, *observers: Observer
) -> MadeRun:
    """Make the units that are missing, and record that in the run's folder.

    Args:
        engine: The run.
        make_executor: Makes the executor, if there is anything to run.
        console: Where progress is shown.
        observers: Are told what happens too. What they raise ends the run.

    Raises:
        SppError: As `Engine.run` does; the failure is in the run's events and its summary too.
    """
    engine.workspace.check_writable()
    record = _Record(engine, start_run(engine))
    _tell_changes(engine, console)
    progress = ProgressObserver(console)
    executor = DeferredExecutor(make_executor)
    try:
        with going_on(record.folder, engine.steps):
            engine.run(executor, Observers(progress, record.events, record.accounts, *observers))
    except BaseException as error:
        record.fail(error)
        raise
    finally:
        progress.close()
        executor.close()
    return record.finish()


def _tell_changes(engine: Engine, console: Console) -> None:
    """Say what has changed outside the workspace since the last run: it is why units are made again."""
    for step in engine.steps:
        changes = outside_changes(engine, step)
        for change in changes[:_CHANGES_SHOWN]:
            console.print(f"{step.name}: changed since the last run: {change}")
        if len(changes) > _CHANGES_SHOWN:
            console.print(f"{step.name}: changed since the last run: {len(changes) - _CHANGES_SHOWN} more shards")


class _Record:
    """What one attempt leaves in the run's folder."""

    def __init__(self, engine: Engine, folder: RunFolder) -> None:
        self._engine, self.folder = engine, folder
        self._start = time.perf_counter()
        self._summary = (read_summary(folder) or RunSummary(start=round(time.time(), 3))).again()
        write_summary(folder, self._summary)
        self.accounts = Accounts()
        self.events = EventLog(folder)
        self.events.record("run_started", recipe=engine.recipe.source)
        self.events.begin()

    def fail(self, error: BaseException) -> None:
        """Record a failure; what can't be recorded of it is logged, so that the failure itself is what is raised."""
        ending = Ending.of(error)
        self.events.record("run_failed", error=ending.error, exit_code=ending.exit_code)
        try:
            self._end(ending)
        except SppError as second:
            logger.warning("the run's end can't be recorded: %s", second)

    def finish(self) -> MadeRun:
        """Record the end of a run that is complete, or is so but for shards that were set aside."""
        missing = shards_missing(self.accounts.summaries)
        ending = Ending() if missing is None else Ending.of(missing)
        if missing is None:
            self.events.record("run_done")
        else:
            self.events.record("run_failed", error=ending.error, exit_code=ending.exit_code)
        result = self._end(ending)
        return MadeRun(self.folder, result, round(time.perf_counter() - self._start, 3), missing)

    def _end(self, ending: Ending) -> RunResult:
        self.events.end()
        result = RunResult.of(self._engine, self.accounts.summaries)
        seconds = time.perf_counter() - self._start
        write_summary(self.folder, self._summary.ended(round(time.time(), 3), seconds, ending, result))
        return result
