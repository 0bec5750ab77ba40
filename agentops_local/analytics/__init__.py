"""The reading side: what the database says of the runs that were recorded."""
