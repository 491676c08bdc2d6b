"""Looking after a workspace for a person: what a command is about, and what it says."""
