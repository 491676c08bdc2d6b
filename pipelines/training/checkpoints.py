"""Checkpoints of a training stage, in its artifact's folder: the same in-process and on Ray.

    <artifact>/checkpoints/step-000200-<attempt>.safetensors    weights and momentum
    <artifact>/checkpoints/step-000200.json                     the commit: created once, names the object above

As with units, a checkpoint exists when its commit does, and nothing is overwritten.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipelines.artifacts.networks import UNIT
from pipelines.engine.checked_reads import read_again_unless
from pipelines.engine.codec import decode, encode
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.store import Entry
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError, ConfigError, IncompleteError
from sppnet.networks.weights import read_safetensors, write_safetensors

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
_COMMIT = re.compile(r"step-(\d+)\.json")
_DATA = re.compile(r"step-(\d+)-\w+\.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of a training after a number of steps.

    Attributes:
        step: How many steps were done.
        tensors: Weights and optimizer state by name, on the CPU.
        curve: What was logged so far, one mapping of JSON values a point.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    curve: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Commit:
    """What makes a checkpoint exist: whose it is, the object with its tensors, and the curve up to it."""

    artifact: str
    step: int
    data: str
    sha256: str
    curve: tuple[dict[str, Any], ...]


class Checkpoints:
    """The checkpoints of one artifact."""

    def __init__(self, artifact: Artifact) -> None:
        self._store = artifact.store
        self._artifact = artifact.name
        self._folder = f"{artifact.name}/{FOLDER}"
        self._trained = artifact.commit_name(UNIT)

    def steps(self) -> list[int]:
        """Return the committed steps in ascending order, from one listing."""
        return sorted(int(found[1]) for name in self._names() if (found := _COMMIT.fullmatch(name)))

    def load(self, step: int) -> Checkpoint:
        """Read the checkpoint of a step.

        Raises:
            ArtifactError: It is missing or damaged.
            ConfigError: It is of another network or config, put here by hand: a fingerprint keeps those apart.
        """
        where = self._commit_name(step)
        commit = self._read_commit(where)
        try:
            name = f"{self._folder}/{commit.data}"
            data = read_again_unless(
                lambda found: content_digest(found) == commit.sha256, lambda: self._store.read(name), name
            )
            if content_digest(data) != commit.sha256:
                raise ArtifactError(f"{where}: {commit.data} is not what was committed ({len(data)} bytes)")
            return Checkpoint(commit.step, read_safetensors(data, where), commit.curve)
        except ConfigError as error:
            raise ArtifactError(f"{where}: not a checkpoint ({error})") from error

    def curve(self, step: int) -> tuple[Mapping[str, Any], ...]:
        """Read only what was logged up to a step; raise `ArtifactError` if it has no checkpoint."""
        return self._read_commit(self._commit_name(step)).curve

    def latest(self) -> Checkpoint | None:
        """Read the latest checkpoint that is whole.

        A damaged one is passed over with a warning and its commit removed, so that its step can be saved again.

        Raises:
            ConfigError: It is of another network or config.
        """
        passed: set[int] = set()
        # Listed again each time: who is late may have saved the next one, and pruned those of the first listing.
        while steps := [step for step in self.steps() if step not in passed]:
            step = steps[-1]
            try:
                return self.load(step)
            except ArtifactError as error:
                logger.warning("checkpoint damaged, falling back to the one before: %s", error)
                self._store.delete(self._commit_name(step))
                passed.add(step)
        return None

    def problems(self, *, deep: bool = False) -> dict[str, str]:
        """Tell what is wrong with checkpoints, by the names of their commits.

        Args:
            deep: Whether their data is read too; else it is only looked for.
        """
        found = {}
        for step in self.steps():
            where = self._commit_name(step)
            try:
                data = f"{self._folder}/{self._read_commit(where).data}"
                if not self._store.exists(data):
                    raise ArtifactError(f"{data} is missing")  # told like what is met in reading it
                if deep:
                    self.load(step)
            except (ArtifactError, ConfigError) as error:
                if self._store.exists(where):  # else it was pruned meanwhile
                    found[where] = str(error).removeprefix(f"{where}: ").removeprefix(f"{where} ")
        return found

    def garbage(self) -> list[Entry]:
        """Return what no training will read: data that no commit names, records of failures, all once it is done."""
        listed = {entry.name.removeprefix(f"{self._folder}/"): entry for entry in self._store.list(self._folder)}
        if not listed:
            return []
        named = set()
        done = self._store.exists(self._trained)
        for name in () if done else filter(_COMMIT.fullmatch, listed):
            try:
                named |= {name, self._read_commit(f"{self._folder}/{name}").data}
            except (ArtifactError, ConfigError):  # pruned since it was listed, or damaged, which is for `verify` to say
                return []
        return [entry for name, entry in listed.items() if name not in named]

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], curve: Sequence[Mapping[str, Any]]) -> None:
        """Publish a checkpoint, unless the step already has one (a lost attempt that lived on wrote the same).

        Raises:
            IncompleteError: A tensor holds values that are not finite: no run should start again from those.
        """
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise IncompleteError(
                    f"training diverged: {name} holds values that are not finite after step {step}; {self.advice()}"
                )
        name = f"step-{step:06d}-{uuid.uuid4().hex[:12]}.safetensors"
        data = write_safetensors(tensors)
        self._store.put(f"{self._folder}/{name}", data)
        commit = _Commit(self._artifact, step, name, content_digest(data), tuple(map(dict, curve)))
        if not self._store.create(self._commit_name(step), encode(commit)):
            self._store.delete(f"{self._folder}/{name}")

    def prune(self, keep: int = 2) -> None:
        """Remove all but the last `keep` checkpoints: commits first, then the objects of their steps."""
        names = self._names()
        steps = sorted(int(found[1]) for name in names if (found := _COMMIT.fullmatch(name)))
        if keep and len(steps) <= keep:
            return
        oldest_kept = steps[-keep] if keep else None
        for pattern in (_COMMIT, _DATA):
            for name in names:
                found = pattern.fullmatch(name)
                if found and (oldest_kept is None or int(found[1]) < oldest_kept):
                    self._store.delete(f"{self._folder}/{name}")

    def advice(self) -> str:
        """Say for an error's message what a run can start again from."""
        steps = self.steps()
        kept = f"the last good checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"
        return f"{kept}; lower the learning rate and run again"

    def _read_commit(self, where: str) -> _Commit:
        """Read a checkpoint's commit; raise `ArtifactError` for a damaged one, `ConfigError` for another training's."""
        commit = decode(_Commit, self._store.read(where), where)
        if not _DATA.fullmatch(commit.data):
            raise ArtifactError(
                f"{where} names {commit.data!r}, which is no checkpoint's data; remove it and run again"
            )
        if commit.artifact != self._artifact:
            raise ConfigError(
                f"{where} is a checkpoint of {commit.artifact}, another network or config; remove it and run again"
            )
        return commit

    def _names(self) -> list[str]:
        return [entry.name.removeprefix(f"{self._folder}/") for entry in self._store.list(self._folder)]

    def _commit_name(self, step: int) -> str:
        return f"{self._folder}/step-{step:06d}.json"
