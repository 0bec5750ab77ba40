"""`agentops-local doctor --crash-test`: on the user's own disk, whether what was acknowledged is kept.

A process is killed in earnest, again and again. A power cut cannot be had from software; what can be known without one
is whether commits reach the disk, and what the system says of the disk.
"""
