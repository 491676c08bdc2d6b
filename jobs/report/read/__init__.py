"""What a run found out, read from its artifacts into plain frozen values: a module for each kind of result."""
