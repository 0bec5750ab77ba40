"""`agentops-sync login`: keep an API key for the daemon."""

from __future__ import annotations

import os
import sys

import click

from agentops_local.cli.common import examples
from agentops_local.config import key_hash
from agentops_sync.credentials import credentials_file, save_key


@click.command(
    short_help="Keep an API key for the daemon.",
    epilog=examples("agentops-sync login", "echo $KEY | agentops-sync login --default"),
)
@click.option("--default", is_flag=True, help="Also for sessions that were recorded without a key.")
def login(default: bool) -> None:
    """Keep an API key in the file of keys, which only you can read.

    The key is asked for, or read from standard input, so that it stands in no command line. A program that is given its
    key by `init(api_key=...)` has kept it there already.
    """
    key = str(click.prompt("API key", hide_input=True)) if sys.stdin.isatty() else sys.stdin.readline()
    save_key(key.strip(), default)
    click.echo(f"key {key_hash(key.strip())}… is in {credentials_file(os.environ)}")
