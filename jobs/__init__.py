"""What a person starts: the command, the recipes, the benchmarks and the report."""
