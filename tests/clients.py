"""The one client of a process, forgotten between tests."""

from __future__ import annotations

import atexit
import logging

from agentops_local import context, faults
from agentops_local.client import Client


def forget_client() -> None:
    """Ends what the process knows of sessions, as if the library had just been imported."""
    client, Client._instance = Client._instance, None
    if client is not None:
        client.stop_instrumenting()
        for session in client._sessions:
            session.is_running = False
        for recorder in client._recorders.values():
            recorder.close()
        atexit.unregister(client._at_exit)
    context.session.set(None)
    context.agent_id.set(None)
    context.event_id.set(None)
    context.agent_names.clear()
    faults.counts.clear()
    logging.getLogger("agentops_local").setLevel(logging.NOTSET)
