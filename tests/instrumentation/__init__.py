"""LLM calls recorded by themselves."""
