"""Settings of gunicorn (`-c python:...`): it tells on which port it listens, and when it has a worker less."""

from __future__ import annotations

from typing import Any

from tests.reliability.programs.telling import say

bind = "127.0.0.1:0"
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Told before the first worker is there."""
    say("listening", server.LISTENERS[0].sock.getsockname()[1])
