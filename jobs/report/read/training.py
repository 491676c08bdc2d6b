"""What training stages logged while they trained, read from the models that they made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sppnet.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """What a training stage logged while it trained.

    Attributes:
        step: The step's name.
        unit: The trained unit.
        points: One mapping per logged step: `step` and figures such as `loss`, `lr`, `held_out_error`.
        stage: The step's stage.
    """

    step: str
    unit: str
    points: tuple[Mapping[str, float], ...]
    stage: str = ""


def read_curve(metadata: Mapping[str, str], where: str) -> tuple[Mapping[str, float], ...]:
    """Read the numbers of a model's `curve`; none if it has no such entry.

    Raises:
        ArtifactError: The entry is no list of mappings.
    """
    try:
        points = json.loads(metadata.get("curve", "[]"))
        return tuple(
            {name: float(value) for name, value in point.items() if type(value) in (int, float)} for point in points
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: its curve is not a list of mappings ({error})") from error
