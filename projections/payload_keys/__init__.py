"""Where the keys of payloads are kept: outside the ledger, so that what a destroyed one sealed is gone."""
