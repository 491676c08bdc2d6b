"""Everything that the report shows, as plain frozen values: what `collect` gives and `render` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.report.read.classification import ClassEvaluation
from jobs.report.read.detection import Evaluation
from jobs.report.read.recall import RecallEvaluation
from pipelines.engine.runner import StepSummary


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
class Picture:
    """One photograph with its detections drawn on it.

    Attributes:
        key: The image's key.
        uri: The drawn JPEG as a data URI.
        width: Its width in pixels.
        height: Its height in pixels.
        right: How many detections are right.
        wrong: How many are wrong.
        missed: How many objects were missed.
    """

    key: str
    uri: str
    width: int
    height: int
    right: int
    wrong: int
    missed: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One false positive, cut out of its photograph.

    Attributes:
        key: The image's key.
        uri: The crop as a data URI.
        width: Its width in pixels.
        height: Its height in pixels.
        category: What the window was taken for.
        score: The detector's score.
        kind: `localisation`, `duplicate`, `confusion` or `background`.
        truth: Category of the object that the window overlaps most; None for background.
        overlap: IoU with that object, 0..1.
    """

    key: str
    uri: str
    width: int
    height: int
    category: str
    score: float
    kind: str
    truth: str | None
    overlap: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one category's detections above its operating score.

    Attributes:
        right: True positives.
        errors: False positives by kind.
        missed: Objects without a true positive.
    """

    right: int
    errors: Mapping[str, int]
    missed: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """The final detector's detections, looked at one image at a time.

    Attributes:
        detector: The detector's name.
        split: The split.
        images_seen: Images that were looked at.
        images_total: Images of the split.
        pictures: Images drawn by lot.
        failures: False positives of the highest scores, highest first.
        tallies: Counts by category over the images that were looked at.
    """

    detector: str
    split: str
    images_seen: int
    images_total: int
    pictures: tuple[Picture, ...]
    failures: tuple[Failure, ...]
    tallies: Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class FieldPicture:
    """An image to which a filter responds strongly, with the receptive field of the response drawn on it.

    Attributes:
        key: The image's key.
        uri: The drawn JPEG as a data URI.
        width: Its width in pixels.
        height: Its height in pixels.
        value: The response.
    """

    key: str
    uri: str
    width: int
    height: int
    value: float


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter of the last convolution and the images that it responds to most, strongest first."""

    filter: int
    pictures: tuple[FieldPicture, ...]


@dataclass(frozen=True, slots=True)
class FilterGallery:
    """What one `activations` step found (figure 2).

    Attributes:
        step: The step's name.
        splits: The splits that it looked through.
        rows: A row per filter.
        left_out: Filters that are not shown.
    """

    step: str
    splits: tuple[str, ...]
    rows: tuple[FilterRow, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Training:
    """What a training stage logged while it trained.

    Attributes:
        step: The step's name.
        unit: The trained unit.
        points: One mapping per logged step: `step` and figures such as `loss`, `lr`, `held_out_error`.
        stage: The step's stage.
    """

    step: str
    unit: str
    points: tuple[Mapping[str, float], ...]
    stage: str = ""


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
        gallery: Drawn detections and failures of the final detector; None without one.
        classes: What steps that judge classes found out: classification and transfer.
        proposals: What steps that measure the recall of proposals found out.
        filters: Pictures of what filters respond to.
        training: Curves of the training stages.
        stages: All steps in order.
        recipe_yaml: The recipe with every default written out.
        notes: What could not be shown, one line each, for a person.
    """

    info: RunInfo
    evaluations: tuple[Evaluation, ...] = ()
    gallery: Gallery | None = None
    classes: tuple[ClassEvaluation, ...] = ()
    proposals: tuple[RecallEvaluation, ...] = ()
    filters: tuple[FilterGallery, ...] = ()
    training: tuple[Training, ...] = ()
    stages: tuple[StageRow, ...] = ()
    recipe_yaml: str = ""
    notes: tuple[str, ...] = field(default=())
