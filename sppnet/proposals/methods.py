"""The windows of an image by one method or several together, as a detector was trained on them (section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeAlias, cast

import numpy as np

from sppnet.arrays import Array, Pixels, Windows
from sppnet.errors import ConfigError, DataError
from sppnet.own_parts import blames_machine, is_import_path, own_code, resolve, told
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.edges import EdgeDetector, gradient_edges
from sppnet.proposals.selective_search import selective_search
from sppnet.proposals.windows import fit_windows

METHODS = ("selective-search", "edge-boxes")
"""Those that are built in."""
Method: TypeAlias = str
"""One of `METHODS`, or the import path of an own one, see `sppnet.own_parts`."""
EDGE_BOXES_WINDOWS = 2000
"""Windows of EdgeBoxes where `max_windows` says nothing."""


@dataclass(frozen=True, slots=True)
class SelectiveSearchSettings:
    """Of selective search, see `selective_search`.

    Attributes:
        k: Sizes of the graph segmentations, pixels.
        sigma: Smoothing before them, pixels.
        resize_width: Width that images are searched in, pixels; None for their own.
    """

    k: tuple[int, ...] = (50, 100)
    sigma: float = 0.8
    resize_width: int | None = None


@dataclass(frozen=True, slots=True)
class EdgeBoxesSettings:
    """Of EdgeBoxes; the fields are parameters of `edge_boxes`."""

    alpha: float = 0.65
    beta: float = 0.75
    eta: float = 1.0
    min_score: float = 0.01
    min_area: float = 1000.0
    max_aspect: float = 3.0
    gamma: float = 2.0
    kappa: float = 1.5


@dataclass(frozen=True, slots=True)
class Proposals:
    """How windows are proposed.

    Attributes:
        methods: Their windows come method after method, each once; own ones must be allowed.
        min_side: Windows with a shorter side, in pixels, are dropped.
        max_windows: At most so many windows a method; None for all, and 2,000 of EdgeBoxes.
        selective_search: Settings of that method.
        edge_boxes: Settings of that method.
    """

    methods: tuple[Method, ...] = ("selective-search",)
    min_side: int = 20
    max_windows: int | None = None
    selective_search: SelectiveSearchSettings = field(default_factory=SelectiveSearchSettings)
    edge_boxes: EdgeBoxesSettings = field(default_factory=EdgeBoxesSettings)

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods: one or several, each at most once, got {', '.join(self.methods) or 'none'}")
        for method in self.methods:
            if method not in METHODS:
                _own(method)

    def __call__(self, image: Pixels, seed: int, edges: EdgeDetector = gradient_edges) -> Mapping[Method, Windows]:
        """Propose windows, by method; `sppnet.proposals.windows.join_windows` makes them one.

        Args:
            image: uint8 `[H, W, 3]`, RGB.
            seed: Of the order of selective search's windows.
            edges: Finds the edges for EdgeBoxes.

        Raises:
            DataError: `own-proposals`: an own method raised something.
            ConfigError: An own method gave something else than boxes.
        """
        search: dict[Method, Callable[[], Windows]] = {
            "selective-search": lambda: self._selective_search(image, seed),
            "edge-boxes": lambda: self._edge_boxes(image, edges),
        }
        return {
            method: search[method]() if method in search else self._propose_own(method, image)
            for method in self.methods
        }

    def _selective_search(self, image: Pixels, seed: int) -> Windows:
        settings = self.selective_search
        return selective_search(
            image,
            k=settings.k,
            sigma=settings.sigma,
            resize_width=settings.resize_width,
            min_side=self.min_side,
            max_windows=self.max_windows,
            seed=seed,
        )

    def _edge_boxes(self, image: Pixels, edges: EdgeDetector) -> Windows:
        most = self.max_windows or EDGE_BOXES_WINDOWS
        return edge_boxes(image, detector=edges, min_side=self.min_side, max_windows=most, **asdict(self.edge_boxes))

    def _propose_own(self, path: Method, image: Pixels) -> Windows:
        try:
            with own_code():
                found = _own(path)(image.copy())
        except Exception as error:
            if blames_machine(error):
                raise
            raise DataError("own-proposals", f"{path} raised {told(error)}") from error
        boxes = _checked_boxes(found, path)
        height, width = image.shape[:2]
        return fit_windows(boxes, width, height, clip=True, min_side=self.min_side)[: self.max_windows]


def _own(path: Method) -> Callable[[Pixels], object]:
    """Return an own method; raise `ConfigError` for a name that is none, or code that may not be run here."""
    if not is_import_path(path):
        raise ConfigError(f"methods: unknown {path!r}, one of {', '.join(METHODS)}, package.module:function")
    return cast("Callable[[Pixels], object]", resolve(path))


def _checked_boxes(found: object, path: Method) -> Array:
    """Return what an own method gave as float64 `[n, 4]`; raise `ConfigError` if it is something else."""
    try:
        boxes = np.asarray(found)
    except ValueError as error:  # rows of several lengths
        raise ConfigError(f"{path} gave no boxes [n, 4]: {told(error)}") from error
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf":
        raise ConfigError(
            f"{path} gave a {type(found).__name__} of {boxes.dtype} {list(boxes.shape)}, expected numbers [n, 4]: "
            "x0, y0, x1, y1"
        )
    if not np.isfinite(boxes).all():
        raise ConfigError(f"{path} gave boxes that are not finite")
    return boxes.astype(np.float64)
