"""`sppnet classify`: class scores, or features of a layer, of any images, with a network that is there already.

The command is a small recipe of its own (ingest, network, classify), made by the same engine in the same workspace: it
resumes, it retries, and it accounts for every image. What it made is then written out for other programs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.apply.corpus import (
    INFO,
    OWN,
    Steps,
    add_corpus,
    choose_step,
    claim,
    own_engine,
    splits_of,
    steps_of,
    write_ledger,
)
from pipelines.engine.recipe import Recipe, load_recipe
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.planning import PlannedStep
    from pipelines.engine.runner import Engine

_NAME = "classify"
OWN_NETWORK, OWN_SCORES = OWN + "network", OWN + "scores"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyRequest:
    """What `sppnet classify` is asked for.

    Attributes:
        corpus: A folder or prefix of images, webdataset tars (globs and `{000..123}`), or `step:_NAME`, a step of the
            recipe that ingests.
        recipe: File of the recipe whose network is used; None with `weights`.
        overrides: Of the recipe's values.
        step: The recipe's step that makes the network; None if only one does.
        weights: File of a backbone's weights; None with `recipe`.
        backbone: What the weights are of: `architecture`, `width` and other fields of stage `weights`.
        fields: Fields of stage `classify`: `output`, `views`, `size` and others.
        max_quarantined: Fraction of the images that may be set aside before the command fails.
    """

    corpus: str
    recipe: Path | str | None = None
    overrides: Sequence[str] = ()
    step: str | None = None
    weights: str | None = None
    backbone: dict[str, Any]
    fields: dict[str, Any]
    max_quarantined: float = 0.5


def classify_engine(request: ClassifyRequest, workspace: str) -> Engine:
    """Build the command's run: the steps of its own, on top of those of the recipe that are there already.

    Raises:
        ConfigError: Neither or both of a recipe and weights, no such step or corpus, a network that is not trained
            yet, or a field that `classify` does not take.
    """
    if (request.recipe is None) == (request.weights is None):
        raise ConfigError("classify: give the network by --recipe (and --step), or by --weights (and --architecture)")
    base = load_recipe(request.recipe, request.overrides) if request.recipe else None
    steps = steps_of(base)
    network = _network_step(request, base, steps)
    images = add_corpus(request.corpus, base, steps, request.max_quarantined)
    read = {"stage": "classify", "images": images, "network": network, "splits": splits_of(steps, images)}
    steps[OWN_SCORES] = {**read, **request.fields, "max_quarantined": request.max_quarantined}
    return own_engine(_NAME, steps, base, images, () if base is None else (network,), workspace)


def _network_step(request: ClassifyRequest, base: Recipe | None, steps: Steps) -> str:
    """Return the name of the step that makes the network; add it to `steps` for weights."""
    if base is None:
        if "architecture" not in request.backbone:
            raise ConfigError("classify: --weights needs --architecture, the backbone that they are of")
        steps[OWN_NETWORK] = {"stage": "weights", "path": request.weights, **request.backbone}
        return OWN_NETWORK
    if request.backbone:
        raise ConfigError(f"classify: --{next(iter(request.backbone))} goes with --weights; the recipe has its own")
    return choose_step(base, "network", request.step, "--step")


def write_score_files(engine: Engine, out: str) -> dict[str, Any]:
    """Write a complete run's rows, what they mean, and its ledger to a folder or prefix.

    `<split>/<shard>.parquet` has the columns key, views, label (of the highest score) and values; `output.json` the
    labels and view sets; `ledger.jsonl` a line for each image that was set aside.

    Returns:
        Counts of `images`, `rows` and `quarantined` with its `reasons`, and the `files`.

    Raises:
        ConfigError: `out` holds the results of something else, or can't be written.
    """
    from pipelines.artifacts.scores import ScoresInfo, decode_scores, encode_plain_scores
    from pipelines.engine.work import build_stage

    planned: PlannedStep = next(step for step in engine.steps if step.name == OWN_SCORES)
    stage, target = build_stage(planned.spec), open_store(out)
    artifact = stage.artifact
    claim(target, out, json.loads(artifact.store.read(f"{artifact.name}/{INFO}")), artifact.name)
    info = ScoresInfo.read(artifact)
    units = [unit for phase in stage.phases() for unit in phase.units]
    commits = artifact.commits(units)
    rows = 0
    for commit in commits:
        found = decode_scores(artifact.read_commit(commit), f"{artifact.name}/{commit.unit}")
        target.put(f"{stage.title(commit.unit)}.parquet", encode_plain_scores(found, info.labels))
        rows += len(found)
    return {
        "images": sum(commit.done for commit in commits),
        "rows": rows,
        **write_ledger(target, commits, stage.title),
        "files": len(units) + 2,
    }
