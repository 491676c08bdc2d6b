"""What a stage is: a config, its inputs, phases of units, and a pure function from a unit to its output."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from pipelines.engine.commits import Output
from pipelines.engine.looks import Look, Past, PastLook
from pipelines.engine.phases import Needs, Phase
from pipelines.engine.store import Store
from pipelines.engine.workspace import Artifact, Workspace
from sppnet.errors import ConfigError
from sppnet.own_parts import OwnPart


@dataclass(frozen=True, slots=True)
class Input:
    """Marks a config field that names other steps, and what kinds of artifact those must make."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Role:
    name: str


COVERAGE = _Role("coverage")
"""Marks a field that says which units exist; it is not in the fingerprint."""
RUNTIME = _Role("runtime")
"""Marks a field that changes speed or place, never the result; it is not in the fingerprint."""
FILES = _Role("files")
"""Marks a field of paths or URIs, one or several, of files or folders of them that are read whole and whose content is
in the fingerprint: a copy of them anywhere does as well. It is RUNTIME too."""
MENTIONS = _Role("mentions")
"""Marks a field of lists by name whose members are steps that an input field names."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Marks a field of FILES of which other files of the same folder say more: they are read where there are any."""

    names: tuple[str, ...]


class StageConfig(BaseModel):
    """Base of all stage configs: frozen, unknown keys refused.

    Attributes:
        stage: The stage's name.
        max_quarantined: Fraction of a step's keys that may be quarantined before the step fails (exit code 4).
            [fraction]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    max_quarantined: Annotated[float, RUNTIME, Field(ge=0, le=1)] = 0.05

    @classmethod
    def fields_with(cls, role: _Role) -> set[str]:
        """Names of the fields marked with a role."""
        return {name for name, info in cls.model_fields.items() if role in info.metadata}

    @classmethod
    def beside(cls, field: str) -> tuple[str, ...]:
        """Names of what is read beside the files of a field."""
        marks = cls.model_fields[field].metadata
        return tuple(name for mark in marks if isinstance(mark, Beside) for name in mark.names)

    @classmethod
    def input_fields(cls) -> dict[str, Input]:
        """Return the fields that name other steps."""
        found = {}
        for name, info in cls.model_fields.items():
            for mark in info.metadata:
                if isinstance(mark, Input):
                    found[name] = mark
        return found

    def references(self) -> dict[str, tuple[str, ...]]:
        """Names of the steps that each input field refers to."""
        found: dict[str, tuple[str, ...]] = {}
        for name in self.input_fields():
            value = getattr(self, name)
            found[name] = () if value is None else (value,) if isinstance(value, str) else tuple(value)
        return found

    def needs(self, step: str) -> Needs:
        """Return the most that a unit of the step asks of a machine, as far as the config tells."""
        return Needs(step)

    def supplies(self, step: str) -> bool:
        """Tell whether a step that uses this one's units reads them; if not, it makes them for itself."""
        return True

    def semantic(self) -> dict[str, Any]:
        """Return the part that changes the result, as JSON values."""
        skip = self.fields_with(COVERAGE) | self.fields_with(RUNTIME) | set(self.input_fields()) | {"stage"}
        return cast(dict[str, Any], json.loads(self.model_dump_json(exclude=skip)))


@dataclass(frozen=True, slots=True)
class StageSpec:
    """All that a worker needs to build a stage: names only, no data, no secret.

    Attributes:
        workspace: The workspace's URI.
        step: The step's name in the recipe.
        artifact: Name of the artifact that the step makes.
        config: The config as JSON text.
        inputs: Artifact names by input field, as pairs.
        seed: The run's seed.
        manifest: Digest of the manifest of the images that the step makes or reads; empty if it has none.
        made: Artifacts behind the step whose units it makes for itself instead of reading them.
        own: Own parts of the user's that the recipe names: these, and only these, may be imported for it.
    """

    workspace: str
    step: str
    artifact: str
    config: str
    inputs: tuple[tuple[str, tuple[str, ...]], ...]
    seed: int
    manifest: str = ""
    made: tuple[str, ...] = ()
    own: tuple[OwnPart, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for logs."""
        return asdict(self)


C = TypeVar("C", bound=StageConfig)


class Stage(ABC, Generic[C]):
    """One step at work. Subclasses are built on the driver and again, once per process, on every worker.

    Attributes:
        name: The stage's name in recipes.
        makes: Kind of artifact it makes.
        schema: Raised when the artifact's layout or meaning changes.
        seeded: Whether the run's seed changes the result.
        annotated: Whether the annotations of the splits that it takes whole change the result.
        streamed: Input fields of whose artifacts a unit reads only what `reads` names; the others are read whole, so
            that the step begins when they are complete.
        config_type: The class of its config.
    """

    name: ClassVar[str]
    makes: ClassVar[str]
    schema: ClassVar[int] = 1
    seeded: ClassVar[bool] = False
    annotated: ClassVar[bool] = True
    streamed: ClassVar[frozenset[str]] = frozenset()
    config_type: ClassVar[type[StageConfig]]

    def __init__(self, config: C, spec: StageSpec) -> None:
        self.config = config
        self.spec = spec
        self.seed = spec.seed
        self.workspace = Workspace.open(spec.workspace)
        self.artifact = self.workspace.artifact(spec.artifact)
        self._inputs = {name: tuple(map(self._artifact, names)) for name, names in spec.inputs}

    def _artifact(self, name: str) -> Artifact:
        return Artifact(self.workspace.store, name, stored=name not in self.spec.made)

    def input(self, name: str) -> Artifact:
        """Return the artifact that an input field names."""
        return self._inputs[name][0]

    def optional_input(self, name: str) -> Artifact | None:
        """Return the artifact that an input field names, or None if the field is empty."""
        found = self._inputs.get(name, ())
        return found[0] if found else None

    def inputs(self, name: str) -> tuple[Artifact, ...]:
        """All artifacts that an input field names; none if it is empty."""
        return self._inputs.get(name, ())

    @classmethod
    def external(cls, config: C) -> Mapping[str, Any]:
        """Return what else changes the result and is neither semantic nor an input, by name, as JSON values."""
        return {}

    @classmethod
    def outside(cls, config: C) -> Mapping[str, Any] | None:
        """Name what the config reads outside the workspace, as JSON values; None for nothing."""
        return None

    @classmethod
    def place(cls, config: C) -> Mapping[str, Any]:
        """Name where that lies: looks at one place build on one another, whatever they look for."""
        return cls.outside(config) or {}

    @classmethod
    def look(cls, config: C, store: Store, past: Past) -> Look:
        """Look at what `outside` names.

        Args:
            config: The step's config.
            store: The workspace's store.
            past: The looks before; files that have not changed since need not be read again.

        Raises:
            ConfigError: It is not there, or is something else.
        """
        return Look()

    @classmethod
    def changes(cls, store: Store, before: PastLook, now: Look) -> list[str]:
        """Say in a line each what differs between two looks, for a person."""
        names = {*before.look.digests, *now.digests}
        return [f"{name}: the content has changed" for name in sorted(names) if _unlike(name, before.look, now)]

    @classmethod
    def whole_splits(cls, config: C) -> tuple[str, ...]:
        """Return the splits whose shards, all together, the result depends on; none if each unit follows its shard."""
        return ()

    @classmethod
    def check(cls, config: C, inputs: Mapping[str, tuple[StageConfig, ...]]) -> None:
        """Raise `ConfigError` where the config does not fit its inputs' configs (a scale that is not extracted)."""

    @classmethod
    def complete(cls, config: C, store: Store, manifest: str) -> C:
        """Return the config with what only the data set tells filled in, once it was looked at.

        Args:
            config: The step's config.
            store: The workspace's store.
            manifest: Digest of the manifest of the images that the step makes or reads.
        """
        return config

    @classmethod
    def check_data(cls, config: C, spec: StageSpec) -> None:
        """Raise `ConfigError` where the config does not fit the data set as it was looked at (a misspelt category).

        It is called for every step with a manifest before anything is computed.
        """

    def check_input(self, field: str) -> None:
        """Raise `ConfigError` where what the step behind a field has made does not fit.

        It is called on the driver as soon as that step is complete, before the stage's own turn: what can come to no
        good end is said before more hours go into what lies between. Of steps that run shard by shard beside that step
        most may be done by then.
        """

    def prepare(self) -> None:
        """Run once on the driver before the first phase."""

    def title(self, unit: str) -> str:
        """Return what people call a unit."""
        return unit

    def reads(self, unit: str) -> Iterable[tuple[str, str]]:
        """Return the artifacts and their units that a unit reads, of the inputs that are `streamed`.

        Of its own artifact's earlier phases too, if it does not read all of these.
        """
        return ()

    def bundle(self, unit: str) -> str | None:
        """Name what the units of a phase have in common that one task had better make together; None: each alone."""
        return None

    @abstractmethod
    def phases(self) -> list[Phase]:
        """Return the phases in order. They must follow from the config, the inputs and the images' manifest only."""

    @abstractmethod
    def run(self, unit: str) -> Output:
        """Make one unit. It is pure: the same unit gives the same output on any machine."""

    def run_together(self, units: Sequence[str]) -> Mapping[str, Output]:
        """Make several units of one `bundle`, each as `run` would; by name."""
        return {unit: replace(self.run(unit), share=1 / len(units)) for unit in units}


def _unlike(name: str, before: Look, now: Look) -> bool:
    return before.digests.get(name) != now.digests.get(name)


def require_subset(wanted: tuple[Any, ...], given: tuple[Any, ...], where: str, what: str) -> None:
    """Raise `ConfigError` naming the first wanted value that an input does not offer."""
    for value in wanted:
        if value not in given:
            raise ConfigError(f"{where}: {what} {value} is not among those of its input: {', '.join(map(str, given))}")
