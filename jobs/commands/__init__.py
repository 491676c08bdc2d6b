"""The commands of `sppnet`, a module for what belongs together; `jobs.cli` puts them under one name.

Tests: `apply`, `change` and `export` are tried through the command by those of `jobs/apply`, `jobs/change` and
`jobs/exports`.
"""
