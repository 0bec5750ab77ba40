"""The store: one SQLite database a project, shared safely by processes, threads and forks.

- `location` where the database is, `filesystem` whether WAL is safe there
- `connection` opening, creating, refusing; `schema` and `migrations` what is in it
- `lock` whose turn it is to write
- `file` this process's hold on the file, `database` the writing side: a transaction at a time, through forks and faults
- `forks` who has to know of a fork; `trouble` what an error means; `waiting` what could not be written yet
"""
