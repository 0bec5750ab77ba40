"""The store: the SQLite file, and everything that touches it."""
