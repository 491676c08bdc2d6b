"""`sppnet export`: a trained network or head as one file, for other programs or for the `weights` stage."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from jobs.exports.steps import step_making
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.runner import Engine

_KINDS = ("network", "head")
_SUFFIXES = (".safetensors", ".pth")


def export_weights(engine: Engine, step: str, target: str) -> dict[str, Any]:
    """Write what a step trained or imported to one file.

    `.safetensors` is the artifact's own object with its description; `.pth` a state dict in which the trunk's tensors
    have their publisher's names (torchvision's, for its backbones) and the others are `head.layers.fc6.weight` ...
    and `backbone.mean_image`.

    Args:
        engine: The recipe in its workspace.
        step: A step that makes a network or a head.
        target: A path or URI that ends in `.safetensors` or `.pth`; what is there is replaced.

    Returns:
        The file's name, its size in bytes, and how many tensors it has.

    Raises:
        ConfigError: No such step, one of another kind, another suffix, or a target that can't be written.
        ArtifactError: The step was not run yet, or its artifact is corrupt.
    """
    from pipelines.artifacts.networks import TRUNK, UNIT
    from pipelines.engine.store import open_store
    from sppnet.networks.state_dicts import write_state_dict
    from sppnet.networks.weights import read_safetensors

    suffix = PurePosixPath(target).suffix
    if suffix not in _SUFFIXES:
        raise ConfigError(f"{target}: the name must end in {' or '.join(_SUFFIXES)}")
    artifact = engine.workspace.artifact(step_making(engine, step, _KINDS).spec.artifact)
    if UNIT not in artifact.committed():
        raise ConfigError(f"step {step} has not been run in {engine.workspace.store.uri}; run the recipe first")
    data = artifact.read(UNIT)
    tensors = read_safetensors(data, artifact.name)
    if suffix == ".pth":
        data = write_state_dict({name.removeprefix(TRUNK): tensor for name, tensor in tensors.items()})
    folder, _, name = target.rpartition("/")
    open_store(folder or ("/" if target.startswith("/") else ".")).put(name, data)
    return {"file": target, "bytes": len(data), "tensors": len(tensors), "artifact": artifact.name}
