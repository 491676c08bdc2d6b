"""Data sets: one module per layout, all read into the same annotations."""
