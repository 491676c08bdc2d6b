"""`sppnet classify`: class scores, or features of a layer, of any images, with a network that is there already.

The command is a small recipe of its own (ingest, network, classify), made by the same engine in the same workspace: it
resumes, it retries, and it accounts for every image. What it made is then written out for other programs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engine import Engine
from pipelines.recipe import VERSION, Recipe, load_recipe, parse_recipe
from pipelines.stages import stage_type
from pipelines.store import open_store
from pipelines.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from pipelines.engine import PlannedStep
    from pipelines.store import Store

NAME = "classify"
_OWN = "command."
IMAGES, NETWORK, SCORES = _OWN + "images", _OWN + "network", _OWN + "scores"
STEP_PREFIX = "step:"
INFO = "output.json"
LEDGER = "ledger.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `sppnet classify` is asked for.

    Attributes:
        corpus: A folder or prefix of images, webdataset tars (globs and `{000..123}`), or `step:NAME`, a step of the
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
    recipe: Path | None = None
    overrides: Sequence[str] = ()
    step: str | None = None
    weights: str | None = None
    backbone: dict[str, Any]
    fields: dict[str, Any]
    max_quarantined: float = 0.5


def classify_engine(request: Request, workspace: str) -> Engine:
    """Builds the command's run: the steps of its own, on top of those of the recipe that are there already.

    Raises:
        ConfigError: Neither or both of a recipe and weights, no such step or corpus, a network that is not trained
            yet, or a field that `classify` does not take.
    """
    if (request.recipe is None) == (request.weights is None):
        raise ConfigError("classify: give the network by --recipe (and --step), or by --weights (and --architecture)")
    base = load_recipe(request.recipe, request.overrides) if request.recipe else None
    steps = {name: config.model_dump(mode="json") for name, config in base.steps.items()} if base else {}
    network, images = _network_step(request, base, steps), _images_step(request, base, steps)
    splits = _splits(steps, images)
    read = {"stage": "classify", "images": images, "network": network, "splits": splits}
    steps[SCORES] = {**read, **request.fields, "max_quarantined": request.max_quarantined}
    raw = {"version": VERSION, "name": NAME, "seed": base.seed if base else 0, "steps": _needed(steps, base)}
    engine = Engine(parse_recipe(raw, "sppnet classify"), Workspace.open(workspace))
    _check_trained(engine, network)
    # Steps of the recipe are read, never made: the command must not start a training.
    engine.steps = [step for step in engine.steps if step.name.startswith(_OWN) or step.name == images]
    return engine


def _network_step(request: Request, base: Recipe | None, steps: dict[str, Any]) -> str:
    """Name of the step that makes the network; adds it to `steps` for weights."""
    if base is None:
        if "architecture" not in request.backbone:
            raise ConfigError("classify: --weights needs --architecture, the backbone that they are of")
        steps[NETWORK] = {"stage": "weights", "path": request.weights, **request.backbone}
        return NETWORK
    if request.backbone:
        raise ConfigError(f"classify: --{next(iter(request.backbone))} goes with --weights; the recipe has its own")
    found = _making(base, "network")
    if request.step is not None:
        if request.step not in found:
            raise ConfigError(f"--step {request.step}: makes no network; these do: {', '.join(found) or 'none'}")
        return request.step
    if len(found) != 1:
        raise ConfigError(f"classify: name the network by --step; these make one: {', '.join(found) or 'none'}")
    return found[0]


def _images_step(request: Request, base: Recipe | None, steps: dict[str, Any]) -> str:
    """Name of the step that ingests the corpus; adds it to `steps` unless it is the recipe's."""
    corpus = request.corpus
    if corpus.startswith(STEP_PREFIX):
        name = corpus.removeprefix(STEP_PREFIX)
        found = _making(base, "images") if base else []
        if name not in found:
            raise ConfigError(f"corpus {corpus}: no such step ingests; these do: {', '.join(found) or 'none'}")
        return name
    dataset: dict[str, Any] = {"kind": "images", "root": corpus}
    if ".tar" in corpus.rsplit("/", 1)[-1]:
        dataset = {"kind": "tars", "splits": {"all": [corpus]}, "labelled": False}
    steps[IMAGES] = {"stage": "ingest", "dataset": dataset, "max_quarantined": request.max_quarantined}
    return IMAGES


def _making(base: Recipe, kind: str) -> list[str]:
    return [name for name, config in base.steps.items() if stage_type(config.stage).makes == kind]


def _splits(steps: dict[str, Any], images: str) -> list[str]:
    config: Any = stage_type("ingest").config_type.model_validate(steps[images])
    return list(config.dataset.open().splits)


def _needed(steps: dict[str, Any], base: Recipe | None) -> dict[str, Any]:
    """The command's own steps, and those of the recipe that they are made from."""
    references = {name: config.references() for name, config in base.steps.items()} if base else {}
    waiting = [name for name in steps if name.startswith(_OWN)]
    waiting += [steps[SCORES]["network"], steps[SCORES]["images"]]
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [target for targets in references.get(name, {}).values() for target in targets]
    return {name: fields for name, fields in steps.items() if name in wanted}


def _check_trained(engine: Engine, network: str) -> None:
    from pipelines.networks import UNIT

    if network == NETWORK:
        return
    planned = next(step for step in engine.steps if step.name == network)
    if UNIT not in engine.workspace.artifact(planned.spec.artifact).committed():
        raise ConfigError(f"step {network} has not been run in {engine.workspace.store.uri}; run the recipe first")


def write_out(engine: Engine, out: str) -> dict[str, Any]:
    """Writes a complete run's rows, what they mean, and its ledger to a folder or prefix.

    `<split>/<shard>.parquet` has the columns key, views, label (of the highest score) and values; `output.json` the
    labels and view sets; `ledger.jsonl` a line for each image that was set aside.

    Returns:
        Counts of `images`, `rows` and `quarantined` with its `reasons`, and the `files`.

    Raises:
        ConfigError: `out` holds the results of something else, or can't be written.
    """
    from pipelines.schemas import decode_scores, encode_plain_scores
    from pipelines.stage import build_stage
    from pipelines.stages.classify import ScoresInfo

    planned: PlannedStep = next(step for step in engine.steps if step.name == SCORES)
    stage, target = build_stage(planned.spec), open_store(out)
    artifact = stage.artifact
    _claim(target, out, artifact.store.read(f"{artifact.name}/{INFO}"), artifact.name)
    info = ScoresInfo.read(artifact)
    units = [unit for phase in stage.phases() for unit in phase.units]
    commits = artifact.commits(units)
    rows = 0
    for commit in commits:
        found = decode_scores(artifact.read_commit(commit), f"{artifact.name}/{commit.unit}")
        target.put(f"{commit.unit}.parquet", encode_plain_scores(found, info.labels))
        rows += len(found)
    aside = [{"shard": commit.unit, **line} for commit in commits for line in _ledger_lines(commit)]
    target.put(LEDGER, "".join(json.dumps(line, sort_keys=True) + "\n" for line in aside).encode())
    return {
        "images": sum(commit.done for commit in commits),
        "rows": rows,
        "quarantined": len(aside),
        "reasons": dict(Counter(line["reason"] for line in aside)),
        "files": len(units) + 2,
    }


def _claim(target: Store, out: str, info: bytes, artifact: str) -> None:
    """Marks a folder as that of one artifact; raises `ConfigError` if it holds another's results."""
    body = json.dumps({"artifact": artifact, **json.loads(info)}, sort_keys=True, indent=1).encode()
    if target.create(INFO, body):
        return
    try:
        same = json.loads(target.read(INFO)).get("artifact") == artifact
    except (ArtifactError, ValueError, AttributeError):
        same = False
    if not same:
        raise ConfigError(f"--out {out}: holds the results of another network, corpus or views; give another folder")


def _ledger_lines(commit: Any) -> Iterator[dict[str, str]]:
    for entry in commit.quarantined:
        yield {"key": entry.key, "reason": entry.reason, "detail": entry.detail, "stage": entry.stage}
