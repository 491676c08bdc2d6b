"""Gathering, mining, training sets and scoring of windows.

Tests: `gathering`, `negatives`, `mining`, `training_sets`, `set_limits` and `svm_config` are tried with the stages that
train from them (`test_train_svms.py`, `test_svm_options.py`, `test_train_regressors.py`), `scoring`, `detector_sources`
and `window_stage` with `test_score.py` and `test_combine.py`, all in `tests/pipelines/stages`: what they promise is the
stages' result in any order of units. `training_shards` stand beside the examples that they open, in
`tests/pipelines/artifacts/test_examples.py`.
"""
