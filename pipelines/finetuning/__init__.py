"""Fine-tuning's config, samples, batches and task.

Tests: `config` and `task` are one training, tried as a whole by `test_finetune.py` and `test_finetune_options.py` in
`tests/pipelines/stages`.
"""
