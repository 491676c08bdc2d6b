"""The page: what is on it (`contents`), where that comes from (`collect`), and how it looks (`render`, templates)."""
