"""The step loop of the training stages.

Tests: `config`, `task` and `workers` have no work of their own: `test_loop.py` trains with them.
"""
