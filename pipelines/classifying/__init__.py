"""Protocols of classification."""
