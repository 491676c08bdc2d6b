"""What a run is: storage, artifacts and commits, stages, recipes, and the runner.

Tests: `local_store`, `object_store` and `store_base` are tried side by side by `test_store.py`, `ledger` by
`test_runner.py`, `looks` by `test_planning.py`.
"""
