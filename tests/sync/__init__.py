"""Laws of the daemon that sends what was recorded, and of the server look-alike it is tried against."""
