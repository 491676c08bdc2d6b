"""Candidate windows: selective search and EdgeBoxes."""
