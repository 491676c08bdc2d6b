"""Data sets: one module per layout, all read into the same annotations.

Tests: `class_tables` are tried with the folders that they lie beside, by `test_folders.py`; `det_lists` by
`test_det.py`; `tar_samples` and `tar_listing` by `test_tars.py`
and `test_plain.py`.
"""
