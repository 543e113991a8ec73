"""Archives: runs that ended long ago, with all their events, in files; what the seals need of them stays in the ledger.

An event is at any time in the ledger or in files that were checked, never in neither. Everything goes in bounded
batches under the ledger lock, may end at any point, and is finished by whoever does the same again.
"""
