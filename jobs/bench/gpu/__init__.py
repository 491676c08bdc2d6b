"""`sppnet bench gpu`: what a GPU does, beside its peers, in one command that needs the library's dependencies alone.

Without Ray, pyarrow, pydantic and typer: `python -m jobs.bench.gpu --minutes 8` runs in a bare checkout. Every part of
it runs on a CPU too, with small sizes, so that it is rehearsed before a GPU is at hand.

Tests: `inputs` is what all parts work on; `end_to_end`, `features`, `pooling`, `making_maps`,
`classifying` are run by the rehearsal of the runner.
"""
