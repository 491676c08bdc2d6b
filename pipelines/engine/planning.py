"""What each step of a recipe is made from, and so what its artifact is called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.asked_for import check_given
from pipelines.engine.fingerprint import fingerprint
from pipelines.engine.looks import Look, LookBook, PastLook
from pipelines.engine.own_code import identities, parts_of
from pipelines.engine.recipe import Recipe
from pipelines.engine.registry import stage_type
from pipelines.engine.stage import Stage, StageConfig, StageSpec
from pipelines.engine.workspace import Workspace
from sppnet.errors import ConfigError

IMAGES = "images"
"""The field by which configs name the step that ingests the images they work on."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with the artifact that it makes.

    Attributes:
        name: The step's name.
        config: Its config, complete with what only its data set tells.
        spec: What workers need to build its stage.
        preimage: What the artifact's fingerprint is the hash of.
        look: What it found outside the workspace.
        before: The look before for the same, if there is one.
    """

    name: str
    config: StageConfig
    spec: StageSpec
    preimage: Mapping[str, Any]
    look: Look = field(default_factory=Look)
    before: PastLook | None = None

    def record(self, book: LookBook) -> None:
        """Keep what was found outside the workspace, unless that is known."""
        kind = stage_type(self.config.stage)
        outside, before = kind.outside(self.config), self.before
        if outside is None:
            return
        now = (self.look.digests, self.look.manifest)
        if before is None or self.look.reread or (before.look.digests, before.look.manifest) != now:
            book.record(self.config.stage, kind.place(self.config), outside, self.look)


def plan(recipe: Recipe, workspace: Workspace, fresh: Collection[str] | None = None) -> list[PlannedStep]:
    """Work out every step's artifact name. Look at data sets and files outside the workspace; run nothing.

    Args:
        recipe: The recipe.
        workspace: Where its artifacts are.
        fresh: Steps that look outside the workspace anew; the others take what was found last, if they ever looked.
            None: all.

    Raises:
        ConfigError: The recipe asks for something that was not given; what a step reads outside the workspace is not
            there, or is something else; or a config does not fit the data set.
    """
    check_given(recipe)
    planned: dict[str, PlannedStep] = {}
    book = LookBook(workspace.store)
    own = parts_of(recipe.steps.values())
    for name, config in recipe.steps.items():
        kind = stage_type(config.stage)
        images = [planned[target] for target in config.references().get(IMAGES, ())]
        try:
            before, look = _look(kind, config, workspace, book, fresh is None or name in fresh)
            manifest = look.manifest or (images[0].look.manifest if images else "")
            if manifest:
                config = kind.complete(config, workspace.store, manifest)  # noqa: PLW2901
        except ConfigError as error:
            raise ConfigError(f"step {name}: {error}") from error
        inputs = {
            field: tuple(planned[target].spec.artifact for target in targets)
            for field, targets in config.references().items()
        }
        preimage: dict[str, Any] = {
            "stage": kind.name,
            "schema": kind.schema,
            "config": config.semantic(),
            "inputs": {field: list(names) for field, names in inputs.items()},
            "external": {**kind.external(config), **look.digests, **identities(parts_of([config], followed=True))},
        }
        if kind.seeded:
            preimage["seed"] = recipe.seed
        whole = kind.whole_splits(config)
        if whole:
            preimage["data"] = {split: _identity(images[0], split, kind.annotated) for split in whole}
        spec = StageSpec(
            workspace=workspace.store.uri,
            step=name,
            artifact=f"{kind.makes}-{fingerprint(preimage)}",
            config=config.model_dump_json(),
            inputs=tuple(sorted(inputs.items())),
            seed=recipe.seed,
            manifest=manifest,
            made=_made(recipe, planned, name),
            own=own,
        )
        if spec.manifest:
            kind.check_data(config, spec)
        planned[name] = PlannedStep(name, config, spec, preimage, look, before)
    return list(planned.values())


def _made(recipe: Recipe, planned: Mapping[str, PlannedStep], name: str) -> tuple[str, ...]:
    """Return the artifacts of the steps behind a step that don't supply it."""
    behind: set[str] = set()
    waiting = [name]
    while waiting:
        targets = {target for targets in recipe.steps[waiting.pop()].references().values() for target in targets}
        waiting += targets - behind
        behind |= targets
    return tuple(sorted(planned[step].spec.artifact for step in behind if not planned[step].config.supplies(name)))


def _look(
    kind: type[Stage[Any]], config: StageConfig, workspace: Workspace, book: LookBook, fresh: bool
) -> tuple[PastLook | None, Look]:
    outside = kind.outside(config)
    if outside is None:
        return None, Look()
    past = book.past(kind.name, kind.place(config), outside)
    if past.same is not None and not fresh:
        return past.same, past.same.look
    return past.same, kind.look(config, workspace.store, past)


def _identity(images: PlannedStep, split: str, annotated: bool) -> dict[str, str]:
    """Return what the fingerprint of a step follows that takes a whole split."""
    try:
        found = images.look.splits[split]
    except KeyError:
        raise ConfigError(
            f"split '{split}' is not in the images of step '{images.name}'; they hold: {', '.join(images.look.splits)}"
        ) from None
    return dict(found) if annotated else {"images": found["images"]}
