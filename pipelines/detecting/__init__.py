"""Gathering, mining, training sets and scoring of windows.

Tests: `gathering`, `mining` and `training_sets` are tried with the stages that train from them (`test_train_svms.py`,
`test_svm_options.py`, `test_train_regressors.py`), `scoring` and `window_stage` with `test_score.py` and
`test_combine.py`, all in `tests/pipelines/stages`: what they promise is the stages' result in any order of units.
"""
