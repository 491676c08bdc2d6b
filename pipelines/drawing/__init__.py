"""The drawn data set of the recipe `demo`: what its scenes show, and how they are drawn.

Tests: `shapes_made` and `shapes_nature` are drawn by `test_shapes.py`, every shape of both.
"""
