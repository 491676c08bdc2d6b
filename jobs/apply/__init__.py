"""Trained networks and detectors applied to any images."""
