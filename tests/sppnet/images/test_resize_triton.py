"""The GPU's kernel that makes a network's inputs, interpreted, beside torch; and compiled for a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.images.device_inputs import DeviceInputs
from sppnet.images.network_input import CAFFE_128, TORCHVISION, Preprocessing
from sppnet.sizes import Size
from tests.support.triton_interpreter import interpreted


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("preprocessing", [CAFFE_128, TORCHVISION])
@pytest.mark.parametrize("scale", [13, 20, 33])
def test_the_kernel_resizes_as_torch_does(preprocessing: Preprocessing, scale: int) -> None:
    kernel = interpreted("sppnet.images.resize_triton")
    images = torch.from_numpy(np.stack([picture(20, 31), picture(20, 31)[:, ::-1]]))
    size = Size(round(31 * scale / 20), scale)
    room = Size(size.width + 5, scale)
    expected = DeviceInputs(preprocessing)(images, size, room, 8, torch.float32)
    table = torch.from_numpy(np.ascontiguousarray(preprocessing.table()))
    backwards = preprocessing.channel_order == "bgr"
    found = kernel.resized_input(images.contiguous(), size, room, table, 8, backwards=backwards)
    assert found.shape == expected.shape
    off = (found - expected)[:, :3].abs() * torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    assert float(off.max()) < 1.01
    assert float((off > 0.5).float().mean()) < 0.01  # where rounding is a matter of the last bit
    assert not found[:, 3:].any()
    assert not found[:, :, :, size.width :].any()


def test_compiles_for_a_gpu() -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sppnet.images.resize_triton import _resize

    constants = {"backwards": False, "channels": 8, "block": 128}
    numbers = ("height", "width", "out_height", "out_width", "rows", "line")
    signature = {
        "images": "*u8", "table": "*bf16", "out": "*bf16", **dict.fromkeys(numbers, "i32"),
        "down": "fp32", "across": "fp32", **dict.fromkeys(constants, "constexpr"),
    }  # fmt: skip
    source = ASTSource(_resize, signature, constexprs=constants, attrs={(2,): [["tt.divisibility", 16]]})
    assert ".target sm_90" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
