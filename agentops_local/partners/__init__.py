"""Handlers for other people's frameworks. Nothing here is imported unless the user asks for it by name."""
