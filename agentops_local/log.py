"""The logger. It has no handler of its own, so a program that configures logging decides; one that does not sees our
warnings on stderr, as Python shows them. AGENTOPS_LOGGING_LEVEL sets the level, as in the classic SDK."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("agentops_local")


def set_level(level: str | int | None = None) -> None:
    """Sets the level; without an argument the one AGENTOPS_LOGGING_LEVEL names, and nothing if it names none."""
    chosen = level if level is not None else os.environ.get("AGENTOPS_LOGGING_LEVEL")
    if chosen is None:
        return
    try:
        logger.setLevel(chosen.upper() if isinstance(chosen, str) else chosen)
    except ValueError:
        logger.warning("agentops_local: logging level %r is not known; use DEBUG, INFO, WARNING, ERROR", chosen)
