"""Limits to what is spent, kept by all processes of a database together, offline.

Before a call is made, what it may cost is reserved in the database, in the transaction that looks at what is spent and
reserved already; a call that does not fit is not made. When it has ended its true cost is in its event, and the
reservation goes. One that a process leaves behind when it dies counts no longer.
"""
