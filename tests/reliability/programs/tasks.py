"""A celery application that records; its broker is a folder, so it needs no server. The session is begun where this
module is imported or, with AGENTOPS_TEST_INIT=child, in each child of the pool."""

from __future__ import annotations

import os
import signal
import threading

from celery import Celery, signals

import agentops_local as agentops
from tests.reliability.programs.telling import act, say, think

BOX = os.path.abspath("broker")  # noqa: PTH100 - celery takes text

app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": BOX, "data_folder_out": BOX, "polling_interval": 0.01},
    broker_connection_retry_on_startup=False,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=4,
    worker_send_task_events=False,
    worker_lost_wait=0.1,  # seconds until a child that was killed counts as lost, with its task
)

if os.environ.get("AGENTOPS_TEST_INIT") == "child":

    @signals.worker_process_init.connect
    def begin(**_: object) -> None:
        """A session for each child."""
        agentops.init(default_tags=["child"])

else:
    agentops.init(default_tags=["worker"])


@app.task
@agentops.record_tool("task")
def work(number: int) -> None:
    """A task, in the course of which events are recorded."""
    for turn in range(3):
        think(f"task {number}", turn)
        act(number=number, turn=turn)
    say("did", os.getpid(), number)


@app.task
def perish(events: int) -> None:
    """A task in the midst of which its process is killed. Not from outside: a child that dies while it waits for work
    takes the lock of the pool's queue with it, and the pool waits for ever."""
    say("perishes", os.getpid())
    done = 0

    def kill() -> None:
        while done < events:
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill).start()
    while True:
        act("perish", number=done)
        done += 1
