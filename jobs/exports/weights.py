"""`sppnet export`: a detector, a network or a head as one file, for other programs or for the `weights` stage."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from jobs.exports.bundles import SUFFIX, detector_bundle
from jobs.exports.steps import step_making
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.runner import Engine

_KINDS = ("network", "head")
_SUFFIXES = (".safetensors", ".pth", SUFFIX)


def export_step(
    engine: Engine, step: str, target: str, licence: str | None = None, onnx: str | None = None
) -> dict[str, Any]:
    """Write what a step trained, imported or scores with to one file.

    `.sppnet` is the whole detector of a step that scores, see `sppnet.bundle.files`. `.safetensors` is the artifact's
    own object with its description; `.pth` a state dict in which the trunk's tensors have their publisher's names
    (torchvision's, for its backbones) and the others are `head.layers.fc6.weight` ... and `backbone.mean_image`.

    Args:
        engine: The recipe in its workspace.
        step: A step that makes a network or a head, or for `.sppnet` one that scores.
        target: A path or URI that ends in one of these; what is there is replaced.
        licence: What may be done with the weights, for a detector.
        onnx: A folder for the networks of a detector as ONNX too, see `jobs.exports.onnx_files`; None for none.

    Returns:
        The file's name, its size in bytes, and how many tensors it has.

    Raises:
        ConfigError: No such step, one of another kind, another suffix, or a target that can't be written.
        ArtifactError: The step was not run yet, or its artifact is corrupt.
    """
    from pipelines.engine.store import open_store

    suffix = PurePosixPath(target).suffix
    if suffix not in _SUFFIXES:
        raise ConfigError(f"{target}: the name must end in {' or '.join(_SUFFIXES)}")
    if suffix != SUFFIX and licence is not None:
        raise ConfigError(f"{target}: a licence goes with a whole detector, {SUFFIX}")
    if suffix != SUFFIX and onnx is not None:
        raise ConfigError(f"{target}: --onnx goes with a whole detector, {SUFFIX}")
    data, facts = _detector(engine, step, licence, onnx) if suffix == SUFFIX else _weights(engine, step, suffix)
    folder, _, name = target.rpartition("/")
    open_store(folder or ("/" if target.startswith("/") else ".")).put(name, data)
    return {"file": target, "bytes": len(data), **facts}


def _detector(engine: Engine, step: str, licence: str | None, onnx: str | None) -> tuple[bytes, dict[str, Any]]:
    from sppnet.bundle.files import write_bundle
    from sppnet.networks.weights import read_safetensors

    planned = step_making(engine, step, ("detections",))
    bundle = detector_bundle(engine, planned, licence)
    data = write_bundle(bundle)
    facts: dict[str, Any] = {"tensors": len(read_safetensors(data)), "categories": list(bundle.description.categories)}
    if onnx is not None:
        from jobs.exports.onnx_files import export_onnx

        facts |= export_onnx(bundle, onnx)
    return data, {**facts, "artifact": planned.spec.artifact}


def _weights(engine: Engine, step: str, suffix: str) -> tuple[bytes, dict[str, Any]]:
    from pipelines.artifacts.networks import TRUNK, UNIT
    from sppnet.networks.state_dicts import write_state_dict
    from sppnet.networks.weights import read_safetensors

    artifact = engine.workspace.artifact(step_making(engine, step, _KINDS).spec.artifact)
    if UNIT not in artifact.committed():
        raise ConfigError(f"step {step} has not been run in {engine.workspace.store.uri}; run the recipe first")
    data = artifact.read(UNIT)
    tensors = read_safetensors(data, artifact.name)
    if suffix == ".pth":
        data = write_state_dict({name.removeprefix(TRUNK): tensor for name, tensor in tensors.items()})
    return data, {"tensors": len(tensors), "artifact": artifact.name}
