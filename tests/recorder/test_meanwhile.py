"""What a program does to its messages while they are being recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agentops_local.serialize import dump
from tests.recorder.taping import Tape


@contextmanager
def _meanwhile(tape: Tape, action: Callable[[], object]) -> Iterator[None]:
    """Does something in the midst of the next transaction, as another thread would."""

    def act(statement: str) -> None:
        if statement.startswith("COMMIT"):
            connection.set_trace_callback(None)
            action()

    connection = tape.recorder.read(lambda connection: connection)
    connection.set_trace_callback(act)
    yield
    connection.set_trace_callback(None)


@pytest.mark.parametrize("loose", [False, True])
def test_a_message_changed_while_it_is_written(tape: Tape, loose: bool) -> None:
    """A message that changes while it is being written is not taken for the one that was written: the next prompt
    reads back as it is by then."""
    last: dict[str, Any] = {"role": "user", "content": "before"}
    if loose:
        last["n"] = 1
    chat = [{"role": "system", "content": "s"}, last]
    with _meanwhile(tape, lambda: last.update(content="after")):
        first = tape.call(chat)
    second = tape.call(chat)
    assert tape.prompt(first)[1]["content"] == "before"
    assert tape.prompt(second)[1]["content"] == "after"


def test_a_prompt_that_grows_while_it_is_written(tape: Tape) -> None:
    """What is appended to the list meanwhile is part of the next prompt, not of this one."""
    chat = [{"role": "user", "content": "a"}]
    with _meanwhile(tape, lambda: chat.append({"role": "user", "content": "b"})):
        first = tape.call(chat)
    second = tape.call(chat)
    assert tape.prompt(first) == chat[:1]
    assert tape.prompt(second) == chat
    assert tape.messages() == 2


@pytest.mark.parametrize("first", [{"role": "system", "content": "s"}, {"role": "system", "content": "s", "n": 1}, "s"])
def test_only_what_is_new_is_encoded(tape: Tape, monkeypatch: pytest.MonkeyPatch, first: object) -> None:
    """Of a conversation that grows only the new messages are encoded, whatever its first message is made of."""
    encoded: list[object] = []

    def counted(value: object, *args: Any) -> bytes:
        if value != first:  # a message that is no plain text is compared by its encoding
            encoded.append(value)
        return dump(value, *args)

    monkeypatch.setattr("agentops_local.recorder.prompts.dump", counted)
    chat: list[object] = [first]
    for turn in range(20):
        chat.append({"role": "user", "content": f"question {turn}"})
        tape.call(chat, {"role": "assistant", "content": f"answer {turn}"})
        chat.append({"role": "assistant", "content": f"answer {turn}"})
    assert len(encoded) == 40
    assert tape.messages() == 41
