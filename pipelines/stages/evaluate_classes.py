"""evaluate-classes: errors, accuracy by class and confusion of networks, ensembles and groups of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.class_metrics import UNIT, confusions_body, figures_body, rounded
from pipelines.artifacts.scores import ScoresInfo, decode_scores
from pipelines.classifying.comparisons import ComparisonConfig, Verdicts, check_comparison, compare
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.phases import Phase
from pipelines.engine.stage import MENTIONS, Input, StageConfig, require_subset
from pipelines.shards.stage import ShardStage, require_same_images
from sppnet.arrays import Floats
from sppnet.errors import ArtifactError, ConfigError
from sppnet.evaluation.classification import ClassResult, check_labels, judge, spread

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class EvaluateClassesConfig(StageConfig):
    """Config of `evaluate-classes`.

    Attributes:
        images: The step that ingests, for the annotations.
        scores: The steps that classify; a row of the result for each of their view sets.
        split: The split that was classified.
        truth: What an image's class is: the subcategory of its objects (or the category of those without one), or
            always the category. Images of several classes, or of none, are counted and left out.
        unknown: What to do about an image whose class a network does not tell apart: `error` names it, `skip` counts.
        ensembles: Further rows by name: the mean of several steps' scores. [section 3.1.6]
        groups: Further rows by name: mean and standard deviation of the figures of several rows, such as one network
            trained with several seeds. Members are steps or ensembles.
        comparisons: Differences of two rows' top-1 errors by name, paired by member and image, with the intervals that
            hold 95 % of such differences over other members and over other images.
    """

    stage: Literal["evaluate-classes"]
    images: Annotated[str, Input(("images",))]
    scores: Annotated[tuple[str, ...], Input(("scores",)), Field(min_length=1)]
    split: str = "val"
    truth: Literal["subcategory", "category"] = "subcategory"
    unknown: Literal["error", "skip"] = "error"
    ensembles: Annotated[Mapping[str, Names], MENTIONS] = {}
    groups: Annotated[Mapping[str, Names], MENTIONS] = {}
    comparisons: Mapping[str, ComparisonConfig] = {}


@dataclass
class _Row:
    """Figures of one step or ensemble under one view set, as they add up over shards."""

    name: str
    views: str
    members: tuple[str, ...]
    result: ClassResult
    left_out: Counter[str] = field(default_factory=Counter)
    verdicts: Verdicts = field(default_factory=Verdicts)


Shard = Mapping[str, Mapping[str, Floats]]
"""One step's scores of a shard, by view set and key."""


class EvaluateClasses(ShardStage[EvaluateClassesConfig]):
    """Writes one JSON object: rows of figures with accuracy by class and the confusions that occur."""

    name: ClassVar[str] = "evaluate-classes"
    makes: ClassVar[str] = "class-metrics"
    schema: ClassVar[int] = 2
    config_type: ClassVar[type[StageConfig]] = EvaluateClassesConfig

    @classmethod
    def whole_splits(cls, config: EvaluateClassesConfig) -> tuple[str, ...]:
        """Return the split: all of it is taken together."""
        return (config.split,)

    @classmethod
    def check(cls, config: EvaluateClassesConfig, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Check that the split was classified into scores, in the same images, and that members are rows."""
        scores: Any = dict(zip(config.scores, inputs["scores"], strict=True))
        for step, made in scores.items():
            require_subset((config.split,), made.splits, "split", "split")
            if made.output != "scores":
                raise ConfigError(f"scores: '{step}' holds features of {made.output}; classify with output: scores")
        require_same_images(config, inputs, "scores")
        names = [*config.scores, *config.ensembles, *config.groups]
        for name, count in Counter(names).items():
            if count > 1:
                raise ConfigError(f"scores: '{name}' names more than one row")
        for row, members in config.ensembles.items():
            require_subset(members, config.scores, f"ensembles.{row}", "step")
            if not _common_views([scores[member].views for member in members]):
                raise ConfigError(f"ensembles.{row}: no view set is in all of {', '.join(members)}")
        for row, members in config.groups.items():
            require_subset(members, (*config.scores, *config.ensembles), f"groups.{row}", "row")
        rows = _row_sizes(config, {step: made.views for step, made in scores.items()})
        for name, comparison in config.comparisons.items():
            check_comparison(name, comparison, rows)

    @classmethod
    def external(cls, config: EvaluateClassesConfig) -> Mapping[str, Any]:
        """Return the names of the steps: rows are called after them."""
        return {"names": list(config.scores)}

    @cached_property
    def _units(self) -> tuple[str, ...]:
        return self.manifest.units(self.config.split)

    @cached_property
    def _infos(self) -> dict[str, ScoresInfo]:
        return {
            step: ScoresInfo.read(artifact)
            for step, artifact in zip(self.config.scores, self.inputs("scores"), strict=True)
        }

    def phases(self) -> list[Phase]:
        """Return one unit."""
        _ = self.manifest  # so that status knows when there is nothing to evaluate yet
        return [Phase("evaluate", (UNIT,), keyed=False)]

    def run(self, unit: str) -> Output:
        """Judge every step's scores, shard by shard, against the same annotations."""
        rows = self._empty_rows()
        counts: Counter[str] = Counter()
        for shard in self._units:
            truth = self._truth(shard, counts)
            scores = self._scores(shard)
            for row in rows:
                self._judge(row, truth, scores)
        body = {
            "split": self.config.split,
            "truth": self.config.truth,
            "images": {name: counts[name] for name in ("total", "several_classes", "no_class")},
            "rows": [_row_body(row) for row in rows] + list(self._group_rows(rows)),
            "comparisons": list(self._comparisons(rows)),
        }
        return Output(canonical_json(body).encode(), ".json", len(body["rows"]), 0)

    def _empty_rows(self) -> list[_Row]:
        """Return a row for each step or ensemble and view set; ensembles of networks with other labels are refused."""
        rows = []
        for name, members in {**{step: (step,) for step in self.config.scores}, **self.config.ensembles}.items():
            infos = [self._infos[member] for member in members]
            for member, info in zip(members, infos, strict=True):
                _check_same(infos[0].labels, info.labels, f"ensembles.{name}", (members[0], member))
            for views in _common_views([info.views for info in infos]):
                rows.append(_Row(name, views, members, ClassResult.empty(infos[0].labels)))
        return rows

    def _truth(self, shard: str, counts: Counter[str]) -> dict[str, str]:
        """Return the class of each image of a shard that has one."""
        found: dict[str, str] = {}
        for key, annotation in self.images.read_annotations(shard)[0].items():
            classes = classes_of(annotation, self.config.truth)
            counts["total"] += 1
            if len(classes) == 1:
                found[key] = classes[0]
            else:
                counts["several_classes" if classes else "no_class"] += 1
        return found

    def _scores(self, shard: str) -> dict[str, Shard]:
        found: dict[str, Shard] = {}
        for step, artifact in zip(self.config.scores, self.inputs("scores"), strict=True):
            views: dict[str, dict[str, Floats]] = {}
            for row in decode_scores(artifact.read(shard), f"{artifact.name}/{shard}"):
                if len(row.values) != len(self._infos[step].labels):
                    raise ArtifactError(f"{artifact.name}/{shard}: {row.key} has {len(row.values)} scores")
                views.setdefault(row.views, {})[row.key] = row.values
            found[step] = views
        return found

    def _judge(self, row: _Row, truth: Mapping[str, str], scores: Mapping[str, Shard]) -> None:
        """Add a shard's images to a row."""
        parts = [scores[member].get(row.views, {}) for member in row.members]
        index = {label: number for number, label in enumerate(row.result.labels)}
        keys = []
        for key, name in truth.items():
            if any(key not in part for part in parts):
                row.left_out["quarantined"] += 1
            elif name in index:
                keys.append(key)
            elif self.config.unknown == "skip":
                row.left_out["unknown_class"] += 1
            else:
                raise ConfigError(
                    f"step {self.spec.step}: image {key} is of class '{name}', which '{row.name}' does not tell apart "
                    f"({len(index)} classes); give the network's own data set, or set unknown: skip"
                )
        if keys:
            scored = np.array([[part[key] for key in keys] for part in parts], dtype=np.float64).mean(axis=0)
            classes = np.array([index[truth[key]] for key in keys])
            row.result += judge(scored, classes, row.result.labels)
            row.verdicts.add(keys, scored.argmax(axis=1) != classes)

    def _group_rows(self, rows: Sequence[_Row]) -> Iterator[dict[str, Any]]:
        """Return the mean and deviation over the members of each group, for every view set that all of them have."""
        by_name = _by_name(rows)
        for name, members in self.config.groups.items():
            for views in _common_views([tuple(by_name[member]) for member in members]):
                found = [by_name[member][views] for member in members]
                for member, row in zip(members, found, strict=True):
                    _check_same(found[0].result.labels, row.result.labels, f"groups.{name}", (members[0], member))
                yield _group_body(name, views, members, [row.result for row in found])

    def _comparisons(self, rows: Sequence[_Row]) -> Iterator[dict[str, Any]]:
        """Compare the rows that the config names."""
        by_name = _by_name(rows)
        found: dict[str, dict[str, Sequence[Verdicts]]] = {
            name: {views: [row.verdicts] for views, row in own.items()} for name, own in by_name.items()
        }
        for name, members in self.config.groups.items():
            found[name] = {
                views: [by_name[member][views].verdicts for member in members]
                for views in _common_views([tuple(by_name[member]) for member in members])
            }
        for name, comparison in self.config.comparisons.items():
            yield from compare(name, comparison, found)


def _row_sizes(config: EvaluateClassesConfig, views: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Return how many members every row has, by its sets of views, given those of the steps."""
    common = dict(views)
    for row, members in config.ensembles.items():
        common[row] = _common_views([views[member] for member in members])
    sizes = {row: dict.fromkeys(found, 1) for row, found in common.items()}
    for row, members in config.groups.items():
        sizes[row] = dict.fromkeys(_common_views([common[member] for member in members]), len(members))
    return sizes


def _by_name(rows: Sequence[_Row]) -> dict[str, dict[str, _Row]]:
    """Return the rows by name and views."""
    found: dict[str, dict[str, _Row]] = {}
    for row in rows:
        found.setdefault(row.name, {})[row.views] = row
    return found


def classes_of(annotation: ImageAnnotation, truth: str) -> list[str]:
    """Return the distinct classes of an image's objects: subcategories, where there are any, or categories."""
    named = [thing.subcategory if truth == "subcategory" else None for thing in annotation.objects]
    return sorted({own or thing.category for own, thing in zip(named, annotation.objects, strict=True)})


def _common_views(views: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in views[0] if all(name in other for other in views)]


def _check_same(first: Sequence[str], other: Sequence[str], where: str, names: tuple[str, str]) -> None:
    try:
        check_labels(first, other, names)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _row_body(row: _Row) -> dict[str, Any]:
    accuracies = {label: rounded(value) for label, value in row.result.accuracies.items()}
    return {
        "name": row.name,
        "views": row.views,
        "kind": "network" if row.members == (row.name,) else "ensemble",
        "members": list(row.members),
        "images": row.result.images,
        "left_out": {name: row.left_out[name] for name in ("quarantined", "unknown_class")},
        "figures": figures_body({name: [value] for name, value in row.result.figures.items()}),
        "classes": accuracies,
        **confusions_body(row.result),
    }


def _group_body(name: str, views: str, members: Sequence[str], results: Sequence[ClassResult]) -> dict[str, Any]:
    total = sum(results[1:], results[0])
    accuracies = {label: spread([result.accuracies[label] for result in results]) for label in total.labels}
    return {
        "name": name,
        "views": views,
        "kind": "group",
        "members": list(members),
        "images": min(result.images for result in results),
        "left_out": {},
        "figures": figures_body({name: [result.figures[name] for result in results] for name in total.figures}),
        "classes": {label: rounded(found.mean) if found else None for label, found in accuracies.items()},
        **confusions_body(total),
    }
