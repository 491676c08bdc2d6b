"""Fine-tuning's plans, batches and task.

Tests: `plans`, `batches` and `task` are one training, tried as a whole by `test_finetune.py` and
`test_finetune_options.py` in `tests/pipelines/stages`.
"""
