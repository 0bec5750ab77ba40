"""`agentops-local doctor --crash-test`: the findings, and on a terminal how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from agentops_local.analytics.finding import Finding
from agentops_local.crash_test.trial import crash_test


def findings(path: Path, seconds: float) -> Iterator[Finding]:
    """Tests the disk below a database; the findings, as they are made."""
    shown = sys.stderr.isatty()

    def tell(kills: int) -> None:
        if shown:
            click.echo(f"\r{kills} kills ", nl=False, err=True)

    # Closed whatever happens: programs are ended, and the folder is removed.
    with closing(crash_test(path, seconds, told=tell)) as found:
        for finding in found:
            if shown:
                click.echo("\r\x1b[K", nl=False, err=True)
            yield finding
