"""Curves as MLflow's runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs.curves.watching import lost_by
from sppnet.errors import ConfigError


class MlflowCurves:
    """Logs to MLflow: an experiment of the recipe's name with a run for each training.

    Args:
        uri: The tracking server's, or a folder's or a database's; it may hold a password and is never told.
        run: The recipe's name.

    Raises:
        ConfigError: MLflow is not installed, or can't be reached.
    """

    option = "--mlflow"

    def __init__(self, uri: str, run: str) -> None:
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise ConfigError("--mlflow needs MLflow: pip install 'sppnet[mlflow]'") from error
        self._errors: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._runs: dict[str, str] = {}
        try:
            self._client: Any = MlflowClient(tracking_uri=uri)
            experiment = self._client.get_experiment_by_name(run)
            self._experiment: str = experiment.experiment_id if experiment else self._client.create_experiment(run)
        except self._errors as error:
            raise ConfigError(f"--mlflow: {type(error).__name__}; is its URI right, and is there a server?") from error

    def write(self, step: str, number: int, values: Mapping[str, float]) -> None:
        """Take a point of a step's curve."""
        with lost_by(self._errors):
            if step not in self._runs:
                self._runs[step] = self._client.create_run(self._experiment, run_name=step).info.run_id
            now = int(time.time() * 1000)
            for name, value in values.items():
                self._client.log_metric(self._runs[step], name, float(value), timestamp=now, step=number)

    def flush(self) -> None:
        """Do nothing: each point is written at once."""

    def close(self) -> None:
        """End the runs."""
        with lost_by(self._errors):
            for run in self._runs.values():
                self._client.set_terminated(run)
