"""Protocols and comparisons of classification.

Tests: `transfer_protocols` are tried on a whole run by `tests/pipelines/stages/test_transfer.py`.
"""
