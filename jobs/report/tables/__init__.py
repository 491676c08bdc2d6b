"""Tables of results, as cells that are ready to print."""
