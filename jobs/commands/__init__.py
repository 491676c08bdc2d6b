"""The commands of `sppnet`, a module for what belongs together; `jobs.cli` puts them under one name."""
