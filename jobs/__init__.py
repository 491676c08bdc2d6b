"""What a person starts: the command, the recipes, the demo, the benchmarks and the report."""
