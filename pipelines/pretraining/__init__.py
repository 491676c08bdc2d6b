"""Pre-training's config, examples, batches and task.

Tests: `config` and `task` are tried as a whole training by `tests/pipelines/stages/test_pretrain.py`, `device_batches`
beside the batches that it copies ahead, in `test_batches.py`.
"""
