"""What a `statistics` artifact holds: sums of pixels, a unit a shard, and the statistics of all, as safetensors."""

from __future__ import annotations

import json

import torch

from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError, ConfigError
from sppnet.images.statistics import PixelStatistics, PixelSums
from sppnet.networks.weights import read_metadata, read_safetensors, write_safetensors

UNIT = "statistics"
"""The unit that joins all shards' sums."""
SUFFIX = ".safetensors"


def encode_statistics(found: PixelStatistics) -> bytes:
    """Encode statistics as safetensors: mean image, covariance, its eigenvalues and eigenvectors, and the counts."""
    colours = found.colours()
    tensors = {
        "mean_image": torch.from_numpy(found.mean_image),
        "covariance": torch.from_numpy(found.covariance),
        "eigenvalues": torch.tensor(colours.eigenvalues, dtype=torch.float64),
        "eigenvectors": torch.tensor(colours.eigenvectors, dtype=torch.float64),
    }
    return write_safetensors(tensors, {"counts": canonical_json({"images": found.images, "pixels": found.pixels})})


def read_statistics(artifact: Artifact) -> PixelStatistics:
    """Read a `statistics` artifact; raise `ArtifactError` if it is missing, damaged or something else."""
    data, where = artifact.read(UNIT), f"{artifact.name}/{UNIT}"
    try:
        tensors, counts = read_safetensors(data, where), json.loads(read_metadata(data, where)["counts"])
        mean, covariance = tensors["mean_image"].numpy(), tensors["covariance"].numpy()
        return PixelStatistics(mean, covariance, counts["images"], counts["pixels"])
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not a data set's statistics ({error})") from error


def encode_sums(sums: PixelSums) -> bytes:
    """Encode the sums of a shard."""
    tensors = {name: torch.from_numpy(getattr(sums, name)) for name in ("centre", "first", "second")}
    counts = {name: getattr(sums, name) for name in ("short_side", "size", "images", "pixels")}
    return write_safetensors(tensors, {"counts": canonical_json(counts)})


def decode_sums(data: bytes, where: str) -> PixelSums:
    """Decode the sums of a shard; raise `ArtifactError` naming `where` if the bytes are something else."""
    try:
        counts = json.loads(read_metadata(data, where)["counts"])
        tensors = read_safetensors(data, where)
        sums = PixelSums(counts["short_side"], counts["size"])
        sums.images, sums.pixels = counts["images"], counts["pixels"]
        sums.centre, sums.first, sums.second = (tensors[name].numpy() for name in ("centre", "first", "second"))
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not sums of pixels ({error})") from error
    return sums
