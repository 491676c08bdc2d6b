"""Gathering, mining, training sets and scoring of windows."""
