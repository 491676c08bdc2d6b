"""What the commands share that take any images (a corpus) through what a run has trained.

Such a command is a small recipe of its own, whose steps' names start with `command.`, on top of the steps of the
run's recipe that it reads. The same engine makes it in the same workspace: it resumes, it retries, and it accounts
for every image. The recipe's own steps are read, never made: a command must not start a training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.datasets.corpus_files import LIST, absolute, common_root
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.planning import PlannedStep
from pipelines.engine.recipe import VERSION, Recipe, parse_recipe
from pipelines.engine.registry import stage_type
from pipelines.engine.runner import Engine
from pipelines.engine.store import Store
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError

OWN = "command."
OWN_IMAGES = OWN + "images"
STEP_PREFIX = "step:"
_PATTERN = re.compile(r"[*?\[{]")
_MANY = 100
"""More paths than a shell's glob gives travel as a list in the workspace: each unit's spec carries the config."""

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


def add_corpus(
    corpus: Sequence[str], base: Recipe | None, steps: Steps, max_quarantined: float, workspace: Store
) -> str:
    """Return the name of the step that ingests a corpus; add it to `steps` unless it is one of the recipe's.

    Only images are ingested, where they lie: labels and annotations are passed over, and nothing is copied.

    Args:
        corpus: Files, folders, tars, globs and lists, see `pipelines.datasets.corpus_files.find_corpus`; or
            `step:NAME` alone.
        base: The recipe.
        steps: Its steps.
        max_quarantined: Fraction of the images that may be set aside.
        workspace: Where a list is kept that is too long for a config.

    Raises:
        ConfigError: `step:NAME` names no step that ingests, or does not stand alone; a path that can't be one.
    """
    common = {"annotations": False, "max_quarantined": max_quarantined}
    named = next((path for path in corpus if path.startswith(STEP_PREFIX)), None)
    if named is None:
        dataset = _dataset(corpus, workspace)
        steps[OWN_IMAGES] = {"stage": "ingest", "dataset": dataset, "by_reference": True, **common}
        return OWN_IMAGES
    name, found = named.removeprefix(STEP_PREFIX), making(base, "images")
    if len(corpus) > 1:
        raise ConfigError(f"corpus {named}: a step of the recipe stands alone; give the other images another time")
    if name not in found:
        raise ConfigError(f"corpus {named}: no such step ingests; these do: {', '.join(found) or 'none'}")
    steps[name] |= common
    return name


def _dataset(corpus: Sequence[str], workspace: Store) -> dict[str, Any]:
    """Describe a data set of images that are named as they are typed."""
    paths = [_typed(path) for path in corpus]
    root = common_root(paths)
    if paths == [root]:
        return {"kind": "images", "root": root}
    if len(paths) > _MANY and not any(_PATTERN.search(path) or path.startswith(LIST) for path in paths):
        lines = "".join(f"{path}\n" for path in paths).encode()
        name = f"lists/{content_digest(lines)[:20]}.txt"
        workspace.create(name, lines)
        paths = [f"{LIST}{workspace.uri}/{name}"]
    return {"kind": "images", "root": root, "paths": paths}


def _typed(path: str) -> str:
    """Return a path as it was typed here as one that holds everywhere."""
    return LIST + absolute(path.removeprefix(LIST)) if path.startswith(LIST) else absolute(path)


def splits_of(steps: Steps, images: str) -> list[str]:
    """Return the splits that a step ingests."""
    config: Any = stage_type("ingest").config_type.model_validate(steps[images])
    return list(config.dataset.open().splits)


@dataclass(frozen=True, slots=True)
class CommandRun:
    """The run of a command.

    Attributes:
        engine: Makes the command's own steps, and the one that ingests the corpus.
        planned: These, and the recipe's that they are made from, by name.
        images: Name of the step that ingests the corpus.
    """

    engine: Engine
    planned: Mapping[str, PlannedStep]
    images: str

    @property
    def corpus(self) -> Any:
        """Where the corpus lies, as JSON values."""
        config: Any = self.planned[self.images].config
        return config.dataset.place()


def own_run(
    name: str, steps: Steps, base: Recipe | None, images: str, read: Sequence[str], workspace: str
) -> CommandRun:
    """Build the command's run: its own steps, and the step that ingests the corpus.

    Args:
        name: The command's, and its run's.
        steps: The recipe's steps and the command's own.
        base: The recipe.
        images: The step that ingests the corpus.
        read: Steps of the recipe that the command's own read, and that must be complete.
        workspace: Root of all artifacts.

    Raises:
        ConfigError: A step does not fit its inputs, or one that is read has not been run to its end; there are no
            images.
    """
    if read:
        _check_made(_parsed(name, _needed(steps, base, read), base), read, workspace)
    parsed = _parsed(name, _needed(steps, base, [images, *(step for step in steps if step.startswith(OWN))]), base)
    # The corpus is looked at anew; what the recipe was made from need not be there any more.
    engine = Engine(parsed, Workspace.open(workspace), [step for step in parsed.steps if step.startswith(OWN)])
    planned = {step.name: step for step in engine.steps}
    engine.steps = [step for step in planned.values() if step.name.startswith(OWN) or step.name == images]
    return CommandRun(engine, planned, images)


def _parsed(name: str, steps: Steps, base: Recipe | None) -> Recipe:
    raw = {"version": VERSION, "name": name, "seed": base.seed if base else 0, "steps": steps}
    return parse_recipe(raw, f"sppnet {name}")


def _check_made(recipe: Recipe, read: Sequence[str], workspace: str) -> None:
    """Raise `ConfigError` unless steps of the recipe are complete; a large corpus is not looked at before that."""
    engine = Engine(recipe, Workspace.open(workspace), ())
    engine.steps = [step for step in engine.steps if step.name in read]
    for status in engine.status():
        if status.committed != status.total:
            raise ConfigError(
                f"step {status.step.name} has not been run in {engine.workspace.store.uri} to its end; "
                "run the recipe first"
            )


def _needed(steps: Steps, base: Recipe | None, names: Iterable[str]) -> Steps:
    """Return some steps, and those that they are made from."""

    def references(name: str) -> Iterable[str]:
        if base is not None and name in base.steps:
            return (target for targets in base.steps[name].references().values() for target in targets)
        return _named(steps[name], stage_type(steps[name]["stage"]).config_type.input_fields())

    waiting = list(names)
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
