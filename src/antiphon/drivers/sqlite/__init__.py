"""The embedded storage: one SQLite file (WAL), one writer thread that commits whatever has queued up."""
