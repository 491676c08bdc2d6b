"""What the commands share that take any images (a corpus) through what a run has trained.

Such a command is a small recipe of its own, whose steps' names start with `command.`, on top of the steps of the
run's recipe that it reads. The same engine makes it in the same workspace: it resumes, it retries, and it accounts
for every image. The recipe's own steps are read, never made: a command must not start a training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.engine.recipe import VERSION, Recipe, parse_recipe
from pipelines.engine.registry import stage_type
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from pipelines.engine.store import Store
    from pipelines.engine.workspace import Commit

OWN = "command."
OWN_IMAGES = OWN + "images"
STEP_PREFIX = "step:"
INFO = "output.json"
LEDGER = "ledger.jsonl"

Steps = dict[str, dict[str, Any]]
"""Fields of steps by name, as a recipe has them."""


def steps_of(base: Recipe | None) -> Steps:
    """Return the steps of a recipe as plain values; none without a recipe."""
    return {name: config.model_dump(mode="json") for name, config in base.steps.items()} if base else {}


def making(base: Recipe | None, kind: str) -> list[str]:
    """Return the names of the recipe's steps that make a kind of artifact."""
    return [name for name, config in base.steps.items() if stage_type(config.stage).makes == kind] if base else []


def choose_step(base: Recipe | None, kind: str, given: str | None, option: str) -> str:
    """Choose the recipe's step that makes a kind of artifact.

    Args:
        base: The recipe.
        kind: The kind of artifact.
        given: The step's name; None where only one can be meant.
        option: The option that names it, for messages.

    Raises:
        ConfigError: The named step makes something else, or none is named and not just one can be meant.
    """
    found = making(base, kind)
    known = ", ".join(found) or "none"
    if given is None and len(found) != 1:
        raise ConfigError(f"name the step by {option}; these make {kind}: {known}")
    if given is not None and given not in found:
        raise ConfigError(f"{option} {given}: makes no {kind}; these do: {known}")
    return given or found[0]


def add_corpus(corpus: str, base: Recipe | None, steps: Steps, max_quarantined: float) -> str:
    """Return the name of the step that ingests a corpus; add it to `steps` unless it is one of the recipe's.

    Args:
        corpus: A folder or prefix of images, webdataset tars (globs and `{000..123}`), or `step:NAME`.
        base: The recipe.
        steps: Its steps.
        max_quarantined: Fraction of the images that may be set aside.

    Raises:
        ConfigError: `step:NAME` names no step that ingests.
    """
    if corpus.startswith(STEP_PREFIX):
        name, found = corpus.removeprefix(STEP_PREFIX), making(base, "images")
        if name not in found:
            raise ConfigError(f"corpus {corpus}: no such step ingests; these do: {', '.join(found) or 'none'}")
        return name
    dataset: dict[str, Any] = {"kind": "images", "root": corpus}
    if ".tar" in corpus.rsplit("/", 1)[-1]:
        dataset = {"kind": "tars", "splits": {"all": [corpus]}, "labelled": False}
    steps[OWN_IMAGES] = {"stage": "ingest", "dataset": dataset, "max_quarantined": max_quarantined}
    return OWN_IMAGES


def splits_of(steps: Steps, images: str) -> list[str]:
    """Return the splits that a step ingests."""
    config: Any = stage_type("ingest").config_type.model_validate(steps[images])
    return list(config.dataset.open().splits)


def own_engine(
    name: str, steps: Steps, base: Recipe | None, images: str, read: Sequence[str], workspace: str
) -> Engine:
    """Build the command's run: its own steps, and the step that ingests the corpus.

    Args:
        name: The command's, and its run's.
        steps: The recipe's steps and the command's own.
        base: The recipe.
        images: The step that ingests the corpus.
        read: Steps of the recipe that the command's own read, and that must be complete.
        workspace: Root of all artifacts.

    Raises:
        ConfigError: A step does not fit its inputs, or one that is read has not been run to its end.
    """
    raw = {"version": VERSION, "name": name, "seed": base.seed if base else 0, "steps": _needed(steps, base, images)}
    parsed = parse_recipe(raw, f"sppnet {name}")
    # The corpus is looked at anew; what the recipe was made from need not be there any more.
    engine = Engine(parsed, Workspace.open(workspace), [step for step in parsed.steps if step.startswith(OWN)])
    planned = engine.steps
    engine.steps = [step for step in planned if step.name in read]
    for status in engine.status():
        if status.committed != status.total:
            raise ConfigError(
                f"step {status.step.name} has not been run in {engine.workspace.store.uri} to its end; "
                "run the recipe first"
            )
    engine.steps = [step for step in planned if step.name.startswith(OWN) or step.name == images]
    return engine


def _needed(steps: Steps, base: Recipe | None, images: str) -> Steps:
    """Return the command's own steps, and those of the recipe that they are made from."""

    def references(name: str) -> Iterable[str]:
        if base is not None and name in base.steps:
            return (target for targets in base.steps[name].references().values() for target in targets)
        return _named(steps[name], stage_type(steps[name]["stage"]).config_type.input_fields())

    waiting = [images, *(name for name in steps if name.startswith(OWN))]
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [target for target in references(name) if target in steps]
    return {name: fields for name, fields in steps.items() if name in wanted}


def _named(fields: Mapping[str, Any], inputs: Iterable[str]) -> list[str]:
    values = [fields.get(name) or () for name in inputs]
    return [target for value in values for target in ([value] if isinstance(value, str) else value)]


def claim(target: Store, out: str, info: Mapping[str, Any], artifact: str) -> None:
    """Mark a folder as that of one artifact; raise `ConfigError` if it holds another's results."""
    body = json.dumps({"artifact": artifact, **info}, sort_keys=True, indent=1).encode()
    if target.create(INFO, body):
        return
    try:
        same = json.loads(target.read(INFO)).get("artifact") == artifact
    except (ArtifactError, ValueError, AttributeError):
        same = False
    if not same:
        raise ConfigError(f"--out {out}: holds the results of another command, model or corpus; give another folder")


def write_ledger(target: Store, commits: Iterable[Commit], title: Callable[[str], str]) -> dict[str, Any]:
    """Write `ledger.jsonl`, a line for each image that was set aside; return counts: `quarantined` and `reasons`."""
    lines = [{"shard": title(commit.unit), **asdict(entry)} for commit in commits for entry in commit.quarantined]
    target.put(LEDGER, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode())
    return {"quarantined": len(lines), "reasons": dict(Counter(line["reason"] for line in lines))}
