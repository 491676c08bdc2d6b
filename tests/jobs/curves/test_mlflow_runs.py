"""Curves in MLflow, as MLflow itself reads them; what is said without it, or where it can't be reached."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobs.curves.mlflow_runs import MlflowCurves
from jobs.curves.watching import CurvesLostError
from sppnet.errors import ConfigError


def test_a_run_for_each_training(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    uri = f"sqlite:///{tmp_path}/runs.db"
    curves = MlflowCurves(uri, "toy")
    curves.write("raise", 20, {"loss": 0.5, "lr": 0.01})
    curves.write("raise", 40, {"loss": 0.25})
    curves.write("other", 10, {"loss": 1.0})
    curves.close()
    client = tracking.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"raise", "other"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    history = client.get_metric_history(runs["raise"].info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(20, 0.5), (40, 0.25)]
    again = MlflowCurves(uri, "toy")  # the experiment is there already
    again.write("raise", 60, {"loss": 0.125})
    again.close()
    assert len(client.search_runs([experiment.experiment_id])) == 3
    with pytest.raises(CurvesLostError, match="MlflowException"):
        again.write("raise", 80, {"a name: that can't be?!": 1.0})


def test_a_uri_that_is_wrong_is_not_told() -> None:
    pytest.importorskip("mlflow.tracking")
    with pytest.raises(ConfigError) as caught:
        MlflowCurves("nothing://user:secret@host", "toy")
    assert "--mlflow" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "mlflow.exceptions", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"^--mlflow needs MLflow: pip install 'sppnet\[mlflow\]'$"):
        MlflowCurves("./mlruns", "toy")
