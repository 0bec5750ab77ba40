"""Small programs that make faults, each usable by itself: README.md in this folder tells how."""
