"""What every field of a recipe means: for a terminal, as a page of the docs, and as a JSON schema for editors.

The words are those of the configs' docstrings; types, defaults and what changes results follow from the configs.
"""
