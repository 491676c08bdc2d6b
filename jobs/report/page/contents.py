"""Everything that the page shows, as plain frozen values: what `collect` gives and `render` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.report.page.filters import FilterGallery
from jobs.report.page.gallery import Gallery
from jobs.report.read.calibrations import ScoreMeanings
from jobs.report.read.classification import ClassEvaluation
from jobs.report.read.detection import Evaluation
from jobs.report.read.recall import RecallEvaluation
from jobs.report.read.training import TrainingCurve
from jobs.report.tables.against import AgainstTable
from jobs.report.tables.score_counts import ScoreCounts
from jobs.report.tables.weaknesses import WeaknessTable
from pipelines.engine.ledger import StepSummary


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was run, where and with what.

    Attributes:
        name: The run's name.
        recipe: Where the recipe was read from.
        workspace: The workspace's URI.
        made: When the page was made, seconds since the epoch.
        finished: When the last evaluation was committed, seconds since the epoch; None without one.
        hosts: Hosts that committed the evaluations, or the one that made the page.
        versions: Versions of libraries by name.
    """

    name: str
    recipe: str
    workspace: str
    made: float
    finished: float | None
    hosts: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StageRow:
    """One step of the run.

    Attributes:
        step: The step's name.
        stage: Its stage's name.
        artifact: Its artifact's name.
        committed: How many of its units are committed.
        total: How many units it has; None where that isn't known yet.
        summary: The account of it, once complete.
    """

    step: str
    stage: str
    artifact: str
    committed: int
    total: int | None
    summary: StepSummary | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """The whole page.

    Attributes:
        info: The header.
        evaluations: What the evaluate steps found out; empty before the first.
        gallery: Drawn detections and failures of the chosen detector; None without one.
        weaknesses: Why its categories are weak; None without objects to find.
        counts: What of its detections is right and wrong; None without a detector.
        against: The run beside another one; None if none was asked for.
        classes: What steps that judge classes found out: classification and transfer.
        calibrations: What steps that calibrate found out of detectors' scores.
        proposals: What steps that measure the recall of proposals found out.
        filters: Pictures of what filters respond to.
        training: Curves of the training stages.
        stages: All steps in order.
        recipe_yaml: The recipe with every default written out.
        left_out: What lies beside the images of a data set and is none, in a line by the step that ingests.
        notes: What could not be shown, one line each, for a person.
    """

    info: RunInfo
    evaluations: tuple[Evaluation, ...] = ()
    gallery: Gallery | None = None
    weaknesses: WeaknessTable | None = None
    counts: ScoreCounts | None = None
    against: AgainstTable | None = None
    classes: tuple[ClassEvaluation, ...] = ()
    calibrations: tuple[ScoreMeanings, ...] = ()
    proposals: tuple[RecallEvaluation, ...] = ()
    filters: tuple[FilterGallery, ...] = ()
    training: tuple[TrainingCurve, ...] = ()
    stages: tuple[StageRow, ...] = ()
    recipe_yaml: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())
