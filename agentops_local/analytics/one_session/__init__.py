"""What may be asked of a session, or of two: why it failed, how its prompts grew, where it parted from another."""
