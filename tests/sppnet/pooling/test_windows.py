from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_pool

from sppnet import threads
from sppnet.pooling import kernel_numba as pooling_numba
from sppnet.pooling import kernel_torch as pooling_torch
from sppnet.pooling import windows as pooling
from sppnet.pooling.pyramid import Pyramid, bin_edges
from sppnet.pooling.windows import pool_windows
from tests.support.waiting import PATIENCE

PYRAMIDS = [(6, 3, 2, 1), (1, 2, 3, 6), (4, 3, 2, 1), (1,), (5, 7), (6, 12, 4)]


def random_map(h: int, w: int, channels: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(h, w, channels, generator=generator).relu().add(0.0).to(dtype)


def random_cells(h: int, w: int, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x0, y0 = rng.integers(0, w, n), rng.integers(0, h, n)
    return np.stack([x0, y0, rng.integers(x0 + 1, w + 1), rng.integers(y0 + 1, h + 1)], axis=1).astype(np.int32)


def one_by_one(map_hwc: torch.Tensor, cells: np.ndarray, levels: tuple[int, ...]) -> torch.Tensor:
    """The definition: each bin's maximum, by itself."""
    rows = [
        torch.stack([
            map_hwc[y0 + a : y0 + b, x0 + c : x0 + d].amax(dim=(0, 1))
            for n in levels
            for a, b in bin_edges(y1 - y0, n).tolist()
            for c, d in bin_edges(x1 - x0, n).tolist()
        ])
        for x0, y0, x1, y1 in cells.tolist()
    ]  # fmt: skip
    return torch.stack(rows)


def roi_pooled(map_hwc: torch.Tensor, cells: np.ndarray, levels: tuple[int, ...]) -> torch.Tensor:
    """torchvision's RoI pooling, whose boxes include their last cell."""
    boxes = torch.from_numpy(cells.astype(np.float32)) - torch.tensor([0.0, 0.0, 1.0, 1.0])
    rois = torch.cat([torch.zeros(len(cells), 1), boxes], dim=1)
    maps = map_hwc.permute(2, 0, 1)[None].contiguous()
    return torch.cat([roi_pool(maps, rois, n, 1.0).flatten(2) for n in levels], dim=2).transpose(1, 2)


@settings(max_examples=40)
@given(
    st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3, 64, 96, 130]), st.sampled_from(PYRAMIDS),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), st.integers(0, 99),
)  # fmt: skip
def test_kernel_equals_reference_equals_definition(
    h: int, w: int, channels: int, levels: tuple[int, ...], dtype: torch.dtype, seed: int
) -> None:
    maps = random_map(h, w, channels, seed, dtype)
    cells = np.concatenate([random_cells(h, w, 6, seed), [[0, 0, w, h], [w - 1, h - 1, w, h]]]).astype(np.int32)
    pooled = pool_windows(maps, cells, Pyramid(levels))
    assert pooled.dtype == dtype
    assert torch.equal(pooled, one_by_one(maps, cells, levels))
    reference = pooling_torch.pool_distinct(maps, torch.from_numpy(cells).long(), Pyramid(levels))
    assert torch.equal(pooled, reference)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equals_torchvision_at_every_level_on_a_map_of_scale_688(threads: int) -> None:
    maps, cells = random_map(43, 57, 256), random_cells(43, 57, 400)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        pooled = pool_windows(maps, cells, Pyramid())
    finally:
        torch.set_num_threads(before)
    expected = roi_pooled(maps, cells, (6, 3, 2, 1))
    for n, bins in Pyramid().slices.items():
        assert torch.equal(pooled[:, bins], expected[:, bins]), n
    assert torch.equal(pooling_torch.pool_distinct(maps, torch.from_numpy(cells).long(), Pyramid()), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(75, 101, 256), (20, 31, 96), (9, 9, 40)])
def test_large_outputs_are_streamed_to_the_same_values(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    maps = random_map(*shape, dtype=dtype)
    cells = random_cells(shape[0], shape[1], 700)
    expected = pooling_torch.pool_distinct(maps, torch.from_numpy(cells).long(), Pyramid())
    assert torch.equal(pool_windows(maps, cells, Pyramid()), expected)
    unaligned = torch.zeros(700 * 50 * shape[2] + 1, dtype=dtype)[1:].view(700, 50, shape[2])
    assert torch.equal(pool_windows(maps, cells, Pyramid(), out=unaligned), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_negative_values_and_infinities_are_pooled_exactly(dtype: torch.dtype) -> None:
    maps = torch.randn(12, 17, 70, generator=torch.Generator().manual_seed(3)).to(dtype)
    maps[0, 0], maps[5, 5] = float("inf"), -float("inf")
    cells = np.concatenate([random_cells(12, 17, 30), [[5, 5, 6, 6]]])
    assert torch.equal(pool_windows(maps, cells, Pyramid()), one_by_one(maps, cells, (6, 3, 2, 1)))


def test_equal_cells_are_pooled_once_and_land_in_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, distinct = random_map(20, 20, 64), random_cells(20, 20, 9, seed=5)
    again = np.random.default_rng(0).integers(0, 9, 300)
    seen = []
    pool = pooling_numba.pool_distinct
    monkeypatch.setattr(pooling_numba, "pool_distinct", lambda *args: (seen.append(len(args[1])), pool(*args)))
    pooled = pool_windows(maps, distinct[again], Pyramid())
    assert seen == [len(np.unique(distinct[again], axis=0))]
    assert torch.equal(pooled, one_by_one(maps, distinct, (6, 3, 2, 1))[again])


def test_other_devices_scatter_equal_cells_too() -> None:
    from sppnet.pooling.windows import _checked_cells, _pool_elsewhere

    maps, distinct = random_map(20, 20, 8), random_cells(20, 20, 9, seed=5)
    cells = distinct[np.random.default_rng(0).integers(0, 9, 100)]
    out = torch.empty(100, 50, 8)
    _pool_elsewhere(maps, _checked_cells(cells, 20, 20), Pyramid(), out)
    assert torch.equal(out, pool_windows(maps, cells, Pyramid()))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cuda_equals_cpu(dtype: torch.dtype) -> None:
    maps, cells = random_map(43, 57, 256, dtype=dtype), random_cells(43, 57, 500)
    assert torch.equal(pool_windows(maps.cuda(), cells, Pyramid()).cpu(), pool_windows(maps, cells, Pyramid()))


def test_out_and_strided_maps_and_tensor_cells() -> None:
    maps, cells = random_map(20, 30, 64), random_cells(20, 30, 11)
    expected = one_by_one(maps, cells, (6, 3, 2, 1))
    out = torch.empty(11, 50, 64)
    assert pool_windows(maps, cells, Pyramid(), out=out) is out
    assert torch.equal(out, expected)
    strided = maps.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided.is_contiguous()
    assert torch.equal(pool_windows(strided, torch.from_numpy(cells), Pyramid()), expected)
    needs_grad = maps.clone().requires_grad_()
    assert torch.equal(pool_windows(needs_grad, cells, Pyramid()), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_windows(dtype: torch.dtype) -> None:
    pooled = pool_windows(random_map(5, 5, 8, dtype=dtype), np.empty((0, 4), np.int32), Pyramid())
    assert pooled.shape == (0, 50, 8)
    assert pooled.dtype == dtype
    reference = pooling_torch.pool_distinct(random_map(5, 5, 8), torch.empty(0, 4, dtype=torch.int64), Pyramid())
    assert reference.shape == (0, 50, 8)


@pytest.mark.parametrize("bad", [[-1, 0, 3, 3], [0, -1, 3, 3], [0, 0, 8, 3], [0, 0, 3, 6], [2, 0, 2, 3], [0, 3, 3, 1]])
def test_bad_cells_are_named(bad: list[int]) -> None:
    cells = np.array([[0, 0, 7, 5], bad], dtype=np.int32)
    with pytest.raises(ValueError, match=r"of window 1 are empty or leave the 7 x 5 map"):
        pool_windows(random_map(5, 7, 8), cells, Pyramid())


def test_other_errors() -> None:
    maps, cells = random_map(5, 7, 8), np.array([[0, 0, 3, 3]], dtype=np.int32)
    with pytest.raises(ValueError, match="integers"):
        pool_windows(maps, cells.astype(np.float32), Pyramid())
    with pytest.raises(ValueError, match="integers"):
        pool_windows(maps, cells[0], Pyramid())
    with pytest.raises(ValueError, match=r"\[H, W, C\]"):
        pool_windows(maps[None], cells, Pyramid())
    with pytest.raises(ValueError, match="float64"):
        pool_windows(maps.double(), cells, Pyramid())
    for out in (torch.empty(2, 50, 8), torch.empty(1, 50, 8).half(), torch.empty(1, 8, 50).transpose(1, 2)):
        with pytest.raises(ValueError, match="out must be contiguous"):
            pool_windows(maps, cells, Pyramid(), out=out)


def test_may_be_called_from_several_threads() -> None:
    maps = [random_map(30, 30, 128, seed) for seed in range(4)]
    cells = random_cells(30, 30, 200)
    with ThreadPoolExecutor(4) as threads:
        pooled = list(threads.map(lambda one: pool_windows(one, cells, Pyramid()), maps * 3))
    for index, ours in enumerate(pooled):
        assert torch.equal(ours, pooled[index % 4])
    assert torch.equal(pooled[1], roi_pooled(maps[1], cells, (6, 3, 2, 1)))


def test_outputs_memory_is_used_again_only_when_nothing_refers_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "_buffers", pooling._Buffers())
    maps, cells = random_map(20, 30, 64), random_cells(20, 30, 60)
    first = pool_windows(maps, cells, Pyramid())
    address, kept, copy = first.data_ptr(), first[3:5, 2].numpy(), first.clone()
    del first
    second = pool_windows(maps + 1, cells, Pyramid())
    assert second.data_ptr() != address
    np.testing.assert_array_equal(kept, copy[3:5, 2].numpy())
    del kept
    third = pool_windows(maps, cells[1:], Pyramid())
    assert third.data_ptr() == address
    assert torch.equal(third, copy[1:])


def test_kept_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "_KEPT_BYTES", 10_000)
    buffers = pooling._Buffers()
    lent = [buffers.take(size) for size in (4000, 3000, 9000, 20_000)]
    assert all(one.ctypes.data % 64 == 0 for one in lent)
    while lent:
        del lent[0]
    assert [memory.nbytes for memory in buffers.free] == [9064]


def _pool_in_child(queue: multiprocessing.Queue, maps: torch.Tensor, cells: np.ndarray) -> None:  # type: ignore[type-arg]
    queue.put(pool_windows(maps, cells, Pyramid()).numpy().sum(axis=(0, 1)).tolist())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_works_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    maps, cells = random_map(43, 57, 128), random_cells(43, 57, 500)
    expected = pool_windows(maps, cells, Pyramid()).numpy().sum(axis=(0, 1)).tolist()
    assert threads._threads.pool is not None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_pool_in_child, args=(queue, maps, cells))
    child.start()
    try:
        assert queue.get(timeout=PATIENCE) == expected
    finally:
        child.kill()
        child.join()
