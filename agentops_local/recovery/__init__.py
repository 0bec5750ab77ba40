"""What is done when a file is damaged or lost: reading what is left of it, putting it back, keeping copies."""
