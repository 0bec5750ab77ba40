"""Programs that stand in for what the project talks to."""
