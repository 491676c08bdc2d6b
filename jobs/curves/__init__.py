"""The curves of trainings, for the tools with which people watch them."""
