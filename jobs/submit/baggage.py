"""What a job needs of this machine, carried by the workspace: the resolved recipe, and the local files that it names.

    uploads/<sha256>/<file name>      a file, or a file of a folder
    uploads/<sha256>/recipe.yaml      the recipe with every default and override, its files named by their new places

Everything lies under the digest of its content and is put once. The fields that are moved are those that the stages
mark with `FILES`: their content is in the fingerprint and their place is not, so that a submitted run makes the very
artifacts that a run from here would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.engine.fingerprint import content_digest
from pipelines.engine.recipe import Recipe
from pipelines.engine.stage import FILES, StageConfig
from pipelines.engine.store import Store
from sppnet.errors import ConfigError

FOLDER = "uploads"
_RECIPE = "recipe.yaml"


@dataclass(frozen=True, slots=True)
class Baggage:
    """A recipe that is ready to be run elsewhere, and what has to be there for it.

    Attributes:
        recipe: The recipe with its local files named by their places in the workspace.
        files: Those files by their names in the workspace.
        name: The recipe's own name there.
    """

    recipe: Recipe
    files: dict[str, Path]
    name: str

    def upload(self, store: Store) -> tuple[int, int]:
        """Put what is not there yet, the recipe last, and return how many files that were, and bytes."""
        count = size = 0
        for name, path in self.files.items():
            if not store.exists(name):
                data = _read(path)
                store.create(name, data)
                count, size = count + 1, size + len(data)
        store.create(self.name, self.recipe.to_yaml().encode())
        return count, size


def pack(recipe: Recipe, uri: str) -> Baggage:
    """Find the local files that a recipe names, and name them by where they will be.

    Args:
        recipe: The recipe, with its overrides.
        uri: The workspace's.

    Raises:
        ConfigError: A file is not there or can't be read, or a folder of files is empty.
    """
    files: dict[str, Path] = {}
    steps = {step: _moved(config, f"steps.{step}", uri, files) for step, config in recipe.steps.items()}
    moved = replace(recipe, steps=steps)
    return Baggage(moved, files, f"{FOLDER}/{content_digest(moved.to_yaml().encode())}/{_RECIPE}")


def _moved(config: StageConfig, where: str, uri: str, files: dict[str, Path]) -> StageConfig:
    update: dict[str, Any] = {}
    for field in config.fields_with(FILES):
        value, beside = getattr(config, field), config.beside(field)
        if isinstance(value, str):
            update[field] = _place(value, f"{where}.{field}", uri, files, beside)
        elif value is not None:
            update[field] = tuple(_place(one, f"{where}.{field}", uri, files, beside) for one in value)
    return config.model_copy(update=update)


def _place(value: str, where: str, uri: str, files: dict[str, Path], beside: tuple[str, ...]) -> str:
    """Note the local files of a path and what is beside it, and return its place in the workspace; a URI stays."""
    path = Path(value.removeprefix("file://")).expanduser()
    if "://" in value and not value.startswith("file://"):
        return value
    if path.is_dir():
        found = {one.relative_to(path).as_posix(): one for one in sorted(path.rglob("*")) if one.is_file()}
        if not found:
            raise ConfigError(f"{where}: the folder {value} holds no files")
        root = f"{_together(found)}/{path.resolve().name}"
        files.update({f"{root}/{name}": one for name, one in found.items()})
        return f"{uri}/{root}"
    more = {name: path.parent / name for name in beside if (path.parent / name).is_file() and name != path.name}
    try:
        if more:
            root = _together({path.name: path, **more})
            files.update({f"{root}/{name}": one for name, one in {path.name: path, **more}.items()})
            return f"{uri}/{root}/{path.name}"
        name = f"{FOLDER}/{content_digest(_read(path))}/{path.name}"
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    files[name] = path
    return f"{uri}/{name}"


def _together(files: Mapping[str, Path]) -> str:
    """Return the folder of several files."""
    digests = {name: content_digest(_read(one)) for name, one in files.items()}
    return f"{FOLDER}/{content_digest(json.dumps(digests).encode())}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error


def local_roots(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the local folders in which data sets lie, which don't travel, each with the step that ingests it.

    Raises:
        ConfigError: One is relative: a job runs in another folder.
    """
    from pipelines.stages.ingest import IngestConfig

    for step, config in recipe.steps.items():
        roots = config.dataset.roots() if isinstance(config, IngestConfig) else ()
        for root in roots:
            if "://" in root:
                continue
            if not Path(root).is_absolute():
                raise ConfigError(
                    f"steps.{step}.dataset: {root} is relative to this folder, and a job runs elsewhere; give an "
                    "object-store prefix, or an absolute path that every node has"
                )
            yield step, root
