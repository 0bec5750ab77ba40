"""`agentops-local serve`: the collector."""

from __future__ import annotations

import click

from agentops_local.cli.common import Settings, db_option, examples

_PORT = 8420
_EXTRA = frozenset({"starlette", "uvicorn", "jwt", "anyio", "jinja2"})


@click.command(
    epilog=examples(
        "agentops-local serve --open",
        "agentops-local serve --port 0 --db runs/agentops.db",
        "agentops-local keys add team",
        "agentops-local serve --host 0.0.0.0 --allow-host collector.example.com",
    )
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="The port; 0 for a free one."
)
@click.option("--root-path", default="", metavar="PATH", help="A prefix of all paths, such as /agentops.")
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A name by which clients may call it; may be repeated; * for any.",
)
@click.option("--max-body", default="64MB", show_default=True, metavar="SIZE", help="The largest request.")
@click.option(
    "--idle",
    type=float,
    default=24,
    show_default=True,
    metavar="HOURS",
    help="End a session of which nothing has come for so long; 0 for never.",
)
@click.option("--open", "and_open", is_flag=True, help="Open the dashboard in the browser.")
@db_option
@click.pass_obj
def serve(
    settings: Settings, host: str, port: int, root_path: str, allow_host: tuple[str, ...], max_body: str, idle: float,
    and_open: bool,
) -> None:  # fmt: skip
    """Show the dashboard, and collect what clients send.

    The dashboard is for browsers; AgentOps clients on this or other machines take the URL that is printed as their
    endpoint. It runs until Ctrl-C or SIGTERM; then requests under
    way are finished. A request is answered when what it brought is on the disk.

    As long as no API key is registered (see `agentops-local keys`) any key works, from this machine only, and leads to
    the database itself: what was recorded here is served, what is sent is put beside it. Once there is a key, only
    registered ones work, and each leads to its own project.

    It needs the extra: pip install 'agentops-local[server]'
    """
    from agentops_local.analytics.pruning import parse_size

    try:
        from agentops_local.dashboard.app import routes
        from agentops_local.server import serve as server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise click.ClickException("the collector needs an extra: pip install 'agentops-local[server]'") from error
    if root_path and not root_path.startswith("/"):
        raise click.UsageError(f"--root-path {root_path!r} must begin with /")
    server.log_to_stderr()
    serving = server.Serving(
        server.Settings(settings.path(), host, port, root_path, allow_host, parse_size(max_body), idle), routes
    )
    who = "registered API keys only" if serving.needs_key else "any API key, from this machine only"
    click.echo(serving.url)  # flushed by click, and before anything else, for programs that wait for it
    click.echo(f"collecting into {settings.path()} ({who}); Ctrl-C stops it", err=True)
    serving.run((lambda: _show(serving.url)) if and_open else (lambda: None))


@click.command(epilog=examples("agentops-local dashboard", "agentops-local dashboard --port 0 --no-open"))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="The port; 0 for a free one."
)
@click.option("--open/--no-open", "and_open", default=True, help="Whether to open it in the browser.")
@db_option
@click.pass_context
def dashboard(ctx: click.Context, port: int, and_open: bool) -> None:
    """Show what was recorded in a browser.

    The same as `serve --open`: everything stays on this machine, and runs until Ctrl-C.

    It needs the extra: pip install 'agentops-local[server]'
    """
    ctx.invoke(
        serve, host="127.0.0.1", port=port, root_path="", allow_host=(), max_body="64MB", idle=24, and_open=and_open
    )


def _show(url: str) -> None:
    import threading
    import webbrowser

    # In a thread: where there is no browser but one in the terminal, it takes the terminal until it is left.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
