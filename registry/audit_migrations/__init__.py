"""The steps of the record of viewing, which on SQLite is a file of its own."""
