"""Looking after a workspace: whether what was committed is there, what nobody needs, what is to be made again.

Nothing here makes anything: what is damaged or unwanted is taken away, its commit first, and the next run makes it.
"""
