"""`sppnet export --onnx`: a detector's backbone and head as ONNX files, checked against torch before they are kept."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppnet.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from sppnet.bundle.files import Bundle

TOLERANCE = 1e-4
"""Of the greatest difference between onnxruntime and torch, as a part of the greatest value."""
_TRACED, _TRIED = (320, 416), ((224, 224), (301, 455), (333, 239))
"""Heights and widths: of the image that is traced, and of those that are tried."""


def export_onnx(bundle: Bundle, folder: str) -> dict[str, Any]:
    """Write `backbone.onnx` and, if the detector has a head, `head.onnx`.

    The backbone takes `images`, float32 `[n, 3, h, w]` of any height and width, preprocessed as the description of the
    detector says, and gives `maps` `[n, C, h', w']`. The head takes `pooled`, float32 `[n, bins x C]`, and gives
    `features`, those that the SVMs take. Pooling, SVMs and suppression are not in them.

    Args:
        bundle: The detector.
        folder: A local folder.

    Returns:
        The files, and the greatest difference of each as a part of the greatest value.

    Raises:
        ConfigError: The extra is not installed, the folder can't be written, a network has no ONNX, or what
            onnxruntime computes is not what torch does.
    """
    import torch
    from torch.nn import functional as F

    _require_packages()

    class Trunk(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return F.relu(trunk(images))

    class Head(torch.nn.Module):
        def forward(self, pooled: torch.Tensor) -> torch.Tensor:
            return bundle.head.fc6(pooled) if layer == "fc6" else bundle.head.fc7(pooled)  # type: ignore[union-attr]

    trunk, layer = bundle.backbone.trunk.eval(), bundle.description.features.layer
    draw = torch.Generator().manual_seed(0)
    tried = [torch.randn(1, 3, *sides, generator=draw) for sides in (_TRACED, *_TRIED)]
    network, head = Trunk(), Head()
    network.add_module("trunk", trunk)
    found = {"backbone.onnx": _written(network, "images", "maps", tried, {0: "n", 2: "h", 3: "w"}, folder)}
    if bundle.head is not None and layer != "pool5":
        head.add_module("head", bundle.head.eval())
        vectors = [torch.rand(n, bundle.head.spec.in_features, generator=draw) for n in (3, 1, 17)]
        found["head.onnx"] = _written(head, "pooled", "features", vectors, {0: "n"}, folder, "head.onnx")
    return {"onnx": [str(Path(folder, name)) for name in found], "onnx_differences": found}


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--onnx needs {error.name}: pip install 'sppnet[onnx]'") from error


def _written(
    network: torch.nn.Module,
    given: str,
    made: str,
    tried: Sequence[torch.Tensor],
    free: Mapping[int, str],
    folder: str,
    name: str = "backbone.onnx",
) -> float:
    """Write one network and return its greatest difference; the file appears when it has been checked."""
    import torch

    path = Path(folder, name)
    aside = path.with_name(f".{name}.tmp")
    logging.getLogger("torch").setLevel(logging.ERROR)  # it tells at length of inequalities that it can't solve
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dynamic = {given: dict.fromkeys(free, torch.export.Dim.DYNAMIC)}
            torch.onnx.export(
                network.eval(),
                (torch.cat([tried[0]] * 2),),
                str(aside),
                input_names=[given],
                output_names=[made],
                dynamic_shapes=dynamic,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        difference = max(_difference(network, given, aside, values) for values in tried[1:])
        if not difference <= TOLERANCE:
            raise ConfigError(f"{path}: onnxruntime's values differ from torch's by {difference:.1e} of the greatest")
        aside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror or error}") from error
    except torch.onnx.errors.OnnxExporterError as error:
        raise ConfigError(f"{path}: torch can't export this network: {str(error).splitlines()[0]}") from error
    finally:
        aside.unlink(missing_ok=True)
    return difference


def _difference(network: torch.nn.Module, given: str, path: Path, values: torch.Tensor) -> float:
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        wanted = network(values).numpy()
    (found,) = session.run(None, {given: values.numpy()})
    if found.shape != wanted.shape:
        return float("inf")
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-12))
