"""Archives: runs that ended long ago, with all their events, in files; what the seals need of them stays in the ledger.

Of a run in an archive commands and queries know as much as of one that was deleted: its keys are free, what it cached
is not served, its id is taken. Its log lines and artifacts are no events: they stay, for as long as their own settings
keep them, so that they are there again when it is.

An event is at any time in the ledger or in files that were checked, never in neither. Everything goes in bounded
batches under the ledger lock, may end at any point, and is finished by whoever does the same again.
"""
