"""Holding a ledger against itself: is all that should be there as it was written, and nothing else."""
