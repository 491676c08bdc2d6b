"""The report: everything that a run found out, on one self-contained HTML page.

`read` takes results out of a workspace, `tables` and `plots` turn them into cells, curves and pictures, and `page`
puts them together: `collect` reads a run into a `RunReport`, `render` turns that into the page. Nothing is fetched by
the page.
"""
