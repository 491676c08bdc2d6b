"""Model selection: the weights that did best on the held-out part of the training set (never on a test set)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sppnet.errors import ConfigError

BEST = "best."
"""Before the names of the best weights among a checkpoint's tensors."""
KEPT = "kept"
"""In the curve's point whose weights were published: 1."""


class BestSnapshot:
    """The weights of the measurement with the lowest held-out error so far; of equals, the first."""

    def __init__(self) -> None:
        self._error = math.inf
        self._weights: dict[str, torch.Tensor] = {}

    def offer(self, error: float, model: nn.Module) -> None:
        """Copy a model's weights to the CPU if its error is lower than all before."""
        if error < self._error:
            self._error = error
            self._weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint holds besides the training's own tensors."""
        return {BEST + name: tensor for name, tensor in self._weights.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor], curve: Iterable[Mapping[str, Any]]) -> None:
        """Go on from a checkpoint's tensors and the curve up to it."""
        self._weights = {name.removeprefix(BEST): t for name, t in tensors.items() if name.startswith(BEST)}
        self._error = min(_errors(curve), default=math.inf)

    def apply(self, model: nn.Module, curve: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Give the model the best weights.

        Returns:
            The curve, with `kept` in the point that they are of.

        Raises:
            ConfigError: Nothing was ever measured.
        """
        if not self._weights:
            raise ConfigError("keep: best needs held-out images, and nothing was measured on any")
        model.load_state_dict(self._weights)
        place = next(i for i, point in enumerate(curve) if point.get("held_out_error") == self._error)
        return [{**point, KEPT: 1} if i == place else point for i, point in enumerate(curve)]


def kept_figures(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was measured of the published weights: the marked point's figures with its step, or the last's."""
    point = next((point for point in curve if KEPT in point), curve[-1])
    figures = {name: value for name, value in point.items() if name not in ("step", "lr", KEPT)}
    return {**figures, "kept_step": point["step"]} if KEPT in point else figures


def _errors(curve: Iterable[Mapping[str, Any]]) -> Iterable[float]:
    return (point["held_out_error"] for point in curve if "held_out_error" in point)
