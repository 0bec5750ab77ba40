"""What may be asked of all that was recorded: a module for each question."""
