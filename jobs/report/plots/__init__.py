"""Curves, heat maps and pictures, as SVG or JPEG that the page holds."""
