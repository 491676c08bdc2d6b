"""The stages and the kinds of data sets, found by name: nothing that runs them imports them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.engine.stage import Stage

STAGES: dict[str, str] = {
    "ingest": "pipelines.stages.ingest:Ingest",
    "propose": "pipelines.stages.propose:Propose",
    "import-windows": "pipelines.stages.import_windows:ImportWindows",
    "recall": "pipelines.stages.recall:Recall",
    "weights": "pipelines.stages.weights:ImportWeights",
    "statistics": "pipelines.stages.statistics:Statistics",
    "pretrain": "pipelines.stages.pretrain:Pretrain",
    "extract": "pipelines.stages.extract:Extract",
    "crops": "pipelines.stages.crops:Crops",
    "finetune": "pipelines.stages.finetune:Finetune",
    "train-svms": "pipelines.stages.train_svms:TrainSvms",
    "train-regressors": "pipelines.stages.train_regressors:TrainRegressors",
    "score": "pipelines.stages.score:Score",
    "calibrate": "pipelines.stages.calibrate:Calibrate",
    "combine": "pipelines.stages.combine:Combine",
    "evaluate": "pipelines.stages.evaluate:Evaluate",
    "classify": "pipelines.stages.classify:Classify",
    "evaluate-classes": "pipelines.stages.evaluate_classes:EvaluateClasses",
    "transfer": "pipelines.stages.transfer:Transfer",
    "activations": "pipelines.stages.activations:Activations",
}


def stage_names() -> tuple[str, ...]:
    """Names of all stages, in the order of the pipeline."""
    return tuple(STAGES)


def stage_type(name: str) -> type[Stage[Any]]:
    """Return the class of a stage; raises KeyError for an unknown name."""
    module, attribute = STAGES[name].split(":")
    found: type[Stage[Any]] = getattr(import_module(module), attribute)
    return found
