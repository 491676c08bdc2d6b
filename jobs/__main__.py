"""`python -m jobs` is the `sppnet` command, for checkouts that are not installed."""

from jobs.cli import main

main()
