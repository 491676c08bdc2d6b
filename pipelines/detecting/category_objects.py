"""Whether training images show an object of each category: without one there is nothing to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from pipelines.artifacts.manifest import Manifest
from pipelines.engine.stage import StageSpec
from pipelines.engine.workspace import Workspace
from pipelines.shards.reading import IngestedImages, splits_units
from sppnet.errors import ArtifactError, ConfigError


def check_shown(spec: StageSpec, splits: tuple[str, ...], categories: tuple[str, ...], *, difficult: bool) -> None:
    """Check that splits of a step's ingested images show every category.

    A damaged shard is passed over with all that it may show: it is told by the unit that needs it, while others go on.

    Args:
        spec: The step.
        splits: Where objects are looked for.
        categories: Their names.
        difficult: Whether objects marked difficult count.

    Raises:
        ConfigError: Some are not shown; all of them are named.
    """
    (images,) = dict(spec.inputs)["images"]
    try:
        absent = _absent(spec.workspace, images, spec.manifest, splits, categories, difficult)
    except ArtifactError:
        return
    if absent:
        raise no_object_error(spec.step, absent, splits)


def no_object_error(step: str, absent: Mapping[str, bool], splits: Sequence[str]) -> ConfigError:
    """Return the error that names categories of which there is nothing to learn.

    Args:
        step: The step that wants them.
        absent: The categories, and whether each has objects all of which are marked difficult.
        splits: Where nothing was found of them.
    """
    names, one = ", ".join(f"'{name}'" for name in absent), len(absent) == 1
    where = " or ".join(f"'{split}'" for split in splits)
    hard = [f"'{name}'" for name, is_hard in absent.items() if is_hard]
    of = "" if one else f" of {', '.join(hard)}"
    but = f" but difficult ones{of}" if hard else ""
    return ConfigError(
        f"step {step}: {'category' if one else 'categories'} {names} {'has' if one else 'have'} no object in split "
        f"{where}{but}; remove {'it' if one else 'them'} from categories{', or set difficult: true' if hard else ''}"
    )


@lru_cache(maxsize=16)
def _absent(
    workspace: str, images: str, manifest: str, splits: tuple[str, ...], categories: tuple[str, ...], difficult: bool
) -> Mapping[str, bool]:
    """Return the categories of which splits show nothing to learn, as `no_object_error` takes them.

    No more is read than it takes to see all.
    """
    place = Workspace.open(workspace)
    ingested = IngestedImages(place.artifact(images), Manifest.read(place.store, manifest))
    absent = dict.fromkeys(categories, False)
    for unit in splits_units(ingested.manifest, splits):
        if not absent:
            break
        for annotation in ingested.read_annotations(unit)[0].values():
            for thing in annotation.objects:
                if difficult or not thing.difficult:
                    absent.pop(thing.category, None)
                elif thing.category in absent:
                    absent[thing.category] = True
    return MappingProxyType(absent)
