"""Curves as runs of Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.curves.watching import lost_by
from sppnet.errors import ConfigError


class WandbCurves:
    """Logs to Weights & Biases: a run for each training, in a group of the recipe's name.

    Its own environment holds: `WANDB_MODE=offline` writes to `./wandb`, `WANDB_API_KEY` lets it in.

    Args:
        project: The project.
        run: The recipe's name.

    Raises:
        ConfigError: It is not installed.
    """

    option = "--wandb"

    def __init__(self, project: str, run: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError("--wandb needs Weights & Biases: pip install 'sppnet[wandb]'") from error
        self._wandb: Any = wandb
        self._errors: tuple[type[Exception], ...] = (wandb.Error, OSError)
        self._project = project
        self._group = run
        self._runs: dict[str, Any] = {}

    def write(self, step: str, number: int, values: Mapping[str, float]) -> None:
        """Take a point of a step's curve."""
        with lost_by(self._errors):
            if step not in self._runs:
                self._runs[step] = self._wandb.init(
                    project=self._project, group=self._group, name=step, reinit="create_new"
                )
            self._runs[step].log(dict(values), step=number)

    def flush(self) -> None:
        """Do nothing: it sends what it has by itself."""

    def close(self) -> None:
        """Wait until all is sent, or written where it is offline."""
        with lost_by(self._errors):
            for run in self._runs.values():
                run.finish()
