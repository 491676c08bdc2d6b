"""The stages of SPP-net and the small engine that runs them over shards."""
