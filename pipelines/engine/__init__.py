"""What a run is: storage, artifacts and commits, stages, recipes, and the runner.

Tests: `local_store` and `store_base` are tried by `test_store.py` beside what all stores have in common, `ledger` by
`test_runner.py`, `looks` by `test_planning.py`.
"""
