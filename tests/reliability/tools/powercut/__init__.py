"""A power-cut simulator: what a program writes is recorded with strace, and disks are made of that as a cut could leave
them.

`trace` turns the system calls of a run into operations in their one order, `disk` is the model of what a disk may hold
after a cut between any two of them, `verdict` opens what it holds with SQLite. `python -m
tests.reliability.tools.powercut --help` does all of it for any program.
"""
