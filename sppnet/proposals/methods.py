"""The windows of an image by one method or several together, as a detector was trained on them (section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from sppnet.arrays import Pixels, Windows
from sppnet.errors import ConfigError
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.edges import EdgeDetector, gradient_edges
from sppnet.proposals.selective_search import selective_search

Method: TypeAlias = Literal["selective-search", "edge-boxes"]
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
        methods: Their windows come method after method, each once.
        min_side: Windows with a shorter side, in pixels, are dropped.
        max_windows: At most so many windows a method; None for all of selective search, and 2,000 of EdgeBoxes.
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

    def __call__(self, image: Pixels, seed: int, edges: EdgeDetector = gradient_edges) -> Mapping[Method, Windows]:
        """Propose windows, by method; `sppnet.proposals.windows.join_windows` makes them one.

        Args:
            image: uint8 `[H, W, 3]`, RGB.
            seed: Of the order of selective search's windows.
            edges: Finds the edges for EdgeBoxes.
        """
        search: dict[Method, Callable[[], Windows]] = {
            "selective-search": lambda: self._selective_search(image, seed),
            "edge-boxes": lambda: self._edge_boxes(image, edges),
        }
        return {method: search[method]() for method in self.methods}

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
