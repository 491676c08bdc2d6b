"""The report: everything that a run found out, on one self-contained HTML page.

`collect` reads a workspace into a `RunReport`, `render` turns that into the page. Nothing is fetched by the page.
"""

from __future__ import annotations

from jobs.report.page.contents import RunReport
from jobs.report.page.render import render

__all__ = ["RunReport", "render"]
