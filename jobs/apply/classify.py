"""`sppnet classify`: class scores, or features of a layer, of any images, with a network that is there already.

The command is a small recipe of its own (ingest, network, classify), made by the same engine in the same workspace: it
resumes, it retries, and it accounts for every image. What it made is then written out for other programs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.apply.corpus import (
    OWN,
    CommandRun,
    Steps,
    add_corpus,
    choose_step,
    own_run,
    splits_of,
    steps_of,
)
from jobs.apply.out_folder import INFO, OutFolder
from jobs.apply.shard_files import ShardFile, ShardFiles, files_of
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.scores import ScoresInfo, ScoresRow, decode_scores, encode_plain_scores, write_plain_scores
from pipelines.engine.recipe import Recipe, apply_override, load_recipe
from pipelines.engine.store import open_store
from pipelines.engine.work import build_stage
from pipelines.outputs.export import aside, publish
from pipelines.outputs.names import FileNames
from pipelines.shards.read_ahead import prepared_ahead
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.commits import Commit

_NAME = "classify"
_AHEAD = 4
"""Shards that are read or being read at a time for a merged file."""
MERGED_FILE = "scores_{split}.parquet"
OWN_NETWORK, OWN_SCORES = OWN + "network", OWN + "scores"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyRequest:
    """What `sppnet classify` is asked for.

    Attributes:
        corpus: Folders and prefixes of images, images, webdataset tars, globs, `@` lists; or `step:NAME`, a step of
            the recipe that ingests.
        recipe: File of the recipe whose network is used; None with `weights`.
        overrides: Of the recipe's values, or of the step `network` that `weights` make.
        step: The recipe's step that makes the network; None if only one does.
        weights: File of a backbone's weights; None with `recipe`.
        backbone: What the weights are of: `architecture`, `width` and other fields of stage `weights`.
        fields: Fields of stage `classify`: `output`, `views`, `size` and others.
        gpus: GPUs of every unit that computes on them; None for what the recipe says.
        max_quarantined: Fraction of the images that may be set aside before the command fails.
    """

    corpus: Sequence[str]
    recipe: Path | str | None = None
    overrides: Sequence[str] = ()
    step: str | None = None
    weights: str | None = None
    backbone: dict[str, Any]
    fields: dict[str, Any]
    gpus: str | None = None
    max_quarantined: float = 0.5


def classify_run(request: ClassifyRequest, workspace: str) -> CommandRun:
    """Build the command's run: the steps of its own, on top of those of the recipe that are there already.

    Raises:
        ConfigError: Neither or both of a recipe and weights, no such step or corpus, a network that is not trained
            yet, or a field that `classify` does not take.
    """
    if (request.recipe is None) == (request.weights is None):
        raise ConfigError("classify: give the network by --recipe (and --step), or by --weights (and --architecture)")
    base = load_recipe(request.recipe, request.overrides, request.gpus) if request.recipe else None
    steps = steps_of(base)
    network = _network_step(request, base, steps)
    images = add_corpus(request.corpus, base, steps, request.max_quarantined, open_store(workspace))
    read = {"stage": "classify", "images": images, "network": network, "splits": splits_of(steps, images)}
    gpus = {} if request.gpus is None else {"gpus": request.gpus}
    steps[OWN_SCORES] = {**read, **request.fields, **gpus, "max_quarantined": request.max_quarantined}
    return own_run(_NAME, steps, base, images, () if base is None else (network,), workspace)


def _network_step(request: ClassifyRequest, base: Recipe | None, steps: Steps) -> str:
    """Return the name of the step that makes the network; add it to `steps` for weights."""
    if base is None:
        if "architecture" not in request.backbone:
            raise ConfigError("classify: --weights needs --architecture, the backbone that they are of")
        raw: dict[str, Any] = {"steps": {"network": {"stage": "weights", "path": request.weights, **request.backbone}}}
        for override in request.overrides:
            apply_override(raw, override)
        steps[OWN_NETWORK] = raw["steps"]["network"]
        return OWN_NETWORK
    if request.backbone:
        raise ConfigError(f"classify: --{next(iter(request.backbone))} goes with --weights; the recipe has its own")
    return choose_step(base, "network", request.step, "--step")


class ScoreFiles:
    """The files of a run's class scores or features.

    `<split>/<shard>.parquet` have the columns key, file, views, label (of the highest score) and values; `output.json`
    tells labels and view sets; `ledger.jsonl` has a line for each image that was set aside.

    Args:
        run: The command's run.
        out: A folder, or an object-store prefix.
        merge: Whether one file of all rows is written at the end, beside those of the shards.

    Raises:
        ConfigError: `out` holds the results of something else, or can't be written.

    Attributes:
        shards: Writes a file for each shard; an observer of the run.
    """

    def __init__(self, run: CommandRun, out: str, *, merge: bool) -> None:
        planned = run.planned[OWN_SCORES]
        config: Any = planned.config
        self._stage, self._splits, self._merge = build_stage(planned.spec), config.splits, merge
        self._artifact = self._stage.artifact
        self._manifest = Manifest.read(run.engine.workspace.store, planned.spec.manifest)
        identity = {"artifact": planned.spec.artifact, "corpus": run.corpus}
        self._folder = OutFolder(out, run.engine.workspace.store, identity)
        files = list(files_of(self._splits, self._manifest.units, lambda split, unit: unit, ".parquet"))
        self.shards = ShardFiles(OWN_SCORES, self._stage, self._folder, files, encode=self._encode, before=self._begin)

    def finish(self) -> dict[str, Any]:
        """Write what is missing of a complete run, and its ledger.

        Returns:
            Counts of `images`, `rows` and `quarantined` with its `reasons`, the shards' `files`, how many of them were
            `written` now, and the `merged` files.
        """
        account = self.shards.finish()
        return {
            "images": account.images,
            "rows": account.rows,
            **self._folder.write_ledger(account.aside, FileNames(self._manifest).of),
            "files": self.shards.count,
            "written": self.shards.written,
            "merged": [name for split in self._splits for name in self._merged(split)] if self._merge else [],
        }

    @cached_property
    def _info(self) -> ScoresInfo:
        return ScoresInfo.read(self._artifact)

    def _encode(self, file: ShardFile, commit: Commit) -> bytes:
        rows = self._rows(commit.unit, self._artifact.read_commit(commit))
        return encode_plain_scores(rows, self._info.labels, FileNames(self._manifest, [commit.unit]).of)

    def _rows(self, unit: str, data: bytes) -> list[ScoresRow]:
        return decode_scores(data, f"{self._artifact.name}/{unit}")

    def _merged(self, split: str) -> Iterator[str]:
        """Write a split's rows as one file, a shard in memory at a time."""
        with aside(self._folder.store) as folder:
            path = folder / MERGED_FILE.format(split=split)
            shards = prepared_ahead(self._manifest.units(split), self._artifact.read, _AHEAD)
            with path.open("wb") as sink:
                rows = (self._rows(unit, data.result()) for unit, data in shards)
                called = FileNames(self._manifest, self._manifest.units(split)).of
                write_plain_scores(rows, self._info.labels, called, sink)
            yield from publish([path], self._folder.store, folder)

    def _begin(self) -> None:
        """Say what the rows hold, before the first of them is there."""
        recorded: dict[str, Any] = json.loads(self._artifact.store.read(f"{self._artifact.name}/{INFO}"))
        self._folder.claim(recorded)
