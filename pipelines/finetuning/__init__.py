"""Fine-tuning's config, plans, batches and task.

Tests: `config`, `plans`, `batches` and `task` are one training, tried as a whole by `test_finetune.py` and
`test_finetune_options.py` in `tests/pipelines/stages`.
"""
