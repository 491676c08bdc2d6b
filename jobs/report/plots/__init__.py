"""Curves, heat maps and pictures."""
