"""Curves as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.curves.watching import CurvesLostError
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardCurves:
    """Writes `<folder>/<run>/<step>/events.out.tfevents...`: loss, lr and what is measured, by step.

    Args:
        folder: A local folder; `tensorboard --logdir` shows it.
        run: The run's name.

    Raises:
        ConfigError: TensorBoard is not installed, or the folder can't be made.
    """

    option = "--tensorboard"

    def __init__(self, folder: str, run: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("--tensorboard needs TensorBoard: pip install 'sppnet[tensorboard]'") from error
        self._make = SummaryWriter
        self._folder = Path(folder, run)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--tensorboard {folder}: {error.strerror or error}; give a folder to write to"
            ) from error
        self._writers: dict[str, SummaryWriter] = {}

    def write(self, step: str, number: int, values: Mapping[str, float]) -> None:
        """Take a point of a step's curve."""
        if step not in self._writers:
            self._writers[step] = self._make(str(self._folder / step))
        for name, value in values.items():
            self._writers[step].add_scalar(name, value, number)

    def flush(self) -> None:
        """Let readers see what was written."""
        try:
            for writer in self._writers.values():
                writer.flush()
        except OSError as error:
            raise CurvesLostError(str(error.strerror or error)) from error

    def close(self) -> None:
        """Write what is waiting."""
        self.flush()
        for writer in self._writers.values():
            writer.close()
