"""`agentops-sync run` and `once`: the daemon, and a single drain."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from agentops_local.analytics.reading import reading
from agentops_local.cli.common import examples
from agentops_local.cli.text import many
from agentops_sync.cli.common import connection_options, fail, settings_of
from agentops_sync.daemon import Daemon
from agentops_sync.instance import AnotherRuns, Settings, serving
from agentops_sync.report import Report, reports
from agentops_sync.timing import SystemClock
from agentops_sync.uploader import Uploader

log = logging.getLogger("agentops_sync")

_BUSY = 3  # exit code


@click.command(
    epilog=examples("agentops-sync run", "agentops-sync run --db a.db --db b.db --endpoint https://collector.example")
)
@connection_options
@click.option("--quiet", "-q", is_flag=True, help="Tell only what goes wrong.")
@click.pass_context
def run(ctx: click.Context, quiet: bool) -> None:
    """Upload whatever is recorded, until told to stop.

    Ends cleanly on SIGTERM and Ctrl-C: requests under way are finished, and noted. Whatever else ends it, the next run
    looks on the server for what it cannot know.
    """
    settings = settings_of(ctx)
    _log_to_stderr(logging.WARNING if quiet else logging.INFO)
    with _served(settings) as uploaders:
        daemon = Daemon(uploaders, SystemClock(), settings.timing(), told=Journal(uploaders))
        with _stopped_by_signals(daemon):
            for one in uploaders:
                log.info("%s → %s", one.ledger.path, one.ledger.url)
            daemon.run()
    log.info("stopped")


@click.command(
    short_help="Upload what is there, and exit.",
    epilog=examples(
        "agentops-sync once", "agentops-sync once --endpoint http://127.0.0.1:8420", "agentops-sync once --dry-run"
    ),
)
@connection_options
@click.option("--dry-run", is_flag=True, help="Print the requests, one JSON object a line, and send nothing.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=75.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a request without an answer to settle. A server that cannot be reached gets 5.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@click.pass_context
def once(ctx: click.Context, dry_run: bool, wait: float, quiet: bool) -> None:
    """Upload what is there, and exit: 0 when all is sent, 1 when something remains."""
    settings = settings_of(ctx)
    if dry_run:
        from agentops_sync.dry_run import print_requests

        print_requests(settings, click.echo)
        return
    _log_to_stderr(logging.ERROR if quiet or sys.stderr.isatty() else logging.INFO)
    with _served(settings) as uploaders:
        shown = not quiet and sys.stderr.isatty()
        with Progress(uploaders, shown) as progress:
            daemon = Daemon(uploaders, SystemClock(), settings.timing(), told=progress)
            with _stopped_by_signals(daemon):
                daemon.run(until_idle=True, patience=wait)
        remaining = False
        for one in uploaders:
            for report in _reports(one):
                remaining = remaining or not report.complete
                if not quiet:
                    click.echo(summary(report))
    ctx.exit(int(remaining))


def summary(report: Report) -> str:
    """A report in two or three lines."""
    counts = report.events
    parts = [f"{counts['done']:,} sent"]
    parts += [f"{counts[state]:,} {state}" for state in counts if state != "done" and counts[state]]
    waiting = sum(not session.complete for session in report.sessions)
    more = f"; {many(waiting, 'session')} not complete: see agentops-sync status" if waiting else ""
    why = f"\n  the server takes nothing now: {report.last_error}" if report.retry_at and waiting else ""
    return f"{report.database} → {report.target}\n  {', '.join(parts)}{more}{why}"


def _reports(uploader: Uploader) -> list[Report]:
    with reading(uploader.ledger.path) as connection:
        return reports(uploader.ledger.path, connection, uploader.ledger.url)


@contextmanager
def _served(settings: Settings) -> Iterator[list[Uploader]]:
    try:
        with serving(settings) as uploaders:
            yield uploaders
    except AnotherRuns as error:
        fail(str(error), _BUSY)


@contextmanager
def _stopped_by_signals(daemon: Daemon) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the daemon; a second one ends the program at once."""

    def stop(number: int, _frame: object) -> None:
        daemon.stop()
        signal.signal(number, signal.SIG_DFL)

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class Journal:
    """The log of a daemon: what it has sent, in a line every some seconds, and what fails, once."""

    _EVERY = 10.0  # seconds

    def __init__(self, uploaders: list[Uploader]) -> None:
        self._uploaders = uploaders
        self._accepted = [one.host.accepted() for one in uploaders]
        self._told = 0.0
        self._down = [False] * len(uploaders)

    def __call__(self) -> None:
        """After a step."""
        for index, one in enumerate(self._uploaders):
            words = one.host.words if one.host.failures else ""
            if bool(words) is not self._down[index]:
                self._down[index] = bool(words)
                if words:
                    log.warning("%s takes nothing now: %s", one.ledger.url, words)
                else:
                    log.info("%s answers again", one.ledger.url)
        now = time.monotonic()
        if now - self._told < self._EVERY:
            return
        self._told = now
        for index, one in enumerate(self._uploaders):
            accepted = one.host.accepted()
            if accepted != self._accepted[index]:
                requests = accepted - self._accepted[index]
                log.info("%s: %s accepted", one.ledger.path, many(requests, "request"))
                self._accepted[index] = accepted


class Progress:
    """A progress bar over events, on a terminal."""

    def __init__(self, uploaders: list[Uploader], shown: bool) -> None:
        self._uploaders = uploaders
        self._shown = shown
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)

    def __call__(self) -> None:
        """After a step."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < 0.2:
            return
        self._drawn = now
        done, all_of_them = 0, 0
        for one in self._uploaders:
            sent, total = one.outbox.progress()
            done, all_of_them = done + sent, all_of_them + total
        part = done / all_of_them if all_of_them else 1.0
        bar = "█" * round(part * 30)
        click.echo(f"\r\x1b[K{bar:░<30} {done:,} of {all_of_them:,} events", nl=False, err=True)


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    for name in ("agentops_sync", "agentops_local"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
