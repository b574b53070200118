"""A backup: all that the registry, the record of viewing and the journal hold, in one file that
goes into either kind of database.

refused   why there is no backup, or none is restored, in English and Chinese
tables    which tables there are, their rows as plain values, and back
manifest  what a backup says of itself
archive   the file: one member a table, each with its sum
saving    from databases into a file
restoring from a file into databases
"""
