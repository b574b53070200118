"""The steps of the journal, which on SQLite is a file of its own."""
