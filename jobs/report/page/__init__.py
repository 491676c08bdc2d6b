"""The page: what is on it (`contents`), where that comes from (`collect`), and how it looks (`render`, templates).

Tests: `contents` are values only, which the other modules of the room fill and show.
"""
