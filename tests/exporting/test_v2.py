from __future__ import annotations

import json
from typing import Any

import pytest

from agentops_local.analytics import filters
from agentops_local.errors import WrongUse
from agentops_local.event import ActionEvent, LLMEvent
from agentops_local.exporting import export
from agentops_local.exporting.v2 import GROUPS
from tests.analytics.recording import SECRET, Book, secretive
from tests.exporting.exported import raw, v2

TURNS = 30


def test_shape(book: Book) -> None:
    """A session is an object with the five keys of v2, the rows of each list in the order of commits; API calls stand
    among the actions."""
    state = book.session("a")
    tool = book.tool(state, "look", {"q": 1}, ["found"])
    book.error(state, tool, "broken")
    book.llm(state, "hello", cost="0.25")
    book.action(state, "think", "text")
    book.action(state, "act")
    book.end(state)
    book.change("UPDATE events SET kind = 'apis' WHERE name = 'act'")
    found = v2(book, state.id)
    assert tuple(found) == ("session", *GROUPS)
    assert (found["session"]["id"], found["session"]["tags"]) == (state.id, '["a"]')
    assert [row["action_type"] for row in found["actions"]] == ["think", "act"]
    assert found["actions"][0]["params"] == "text"
    assert found["tools"][0]["params"] == '{"q":1}'
    assert found["errors"][0]["trigger_event_id"] == found["tools"][0]["id"]
    call = found["llms"][0]
    assert call["prompt"] == {"type": "chatml", "messages": [{"role": "user", "content": "hello"}]}
    assert (call["completion"], call["cost"]) == ({"type": "string", "string": "yes"}, 0.25)


def test_one_is_an_object_and_several_are_a_list(book: Book) -> None:
    """One session that is named is an object; several, or what a filter picks, are a list, also of one or none."""
    first, second = book.session("x"), book.session()
    assert v2(book, first.id)["session"]["id"] == first.id
    assert [one["session"]["id"] for one in v2(book, [second.id, first.id])] == [second.id, first.id]
    assert [one["session"]["id"] for one in v2(book, [first.id, first.id])] == [first.id]
    assert [one["session"]["id"] for one in v2(book, None)] == [first.id, second.id]
    assert [one["session"]["id"] for one in v2(book, filters.parse(tags="x"))] == [first.id]
    assert v2(book, filters.parse(tags="y")) == []


def test_prompts_are_those_of_the_view(book: Book) -> None:
    """Prompts put together from one another are those that the view `llms` walks to, message by message, in
    conversations that grow, branch and take turns."""
    state = book.session()
    talks: list[list[dict[str, object]]] = [[{"role": "system", "content": f"be {name}"}] for name in ("kind", "brief")]
    for turn in range(TURNS):
        talk = talks[turn % 2]
        talk.append({"role": "user", "content": f"turn {turn} " * (500 if turn == 7 else 1)})
        book.add(state, LLMEvent(prompt=list(talk), completion=f"answer {turn}", model="m"))
        talk.append({"role": "assistant", "content": f"answer {turn}"})
        if turn % 5 == 0:
            book.add(state, LLMEvent(prompt=[*talk[:2], {"role": "user", "content": "aside"}], completion={"no": turn}))
    prompts: list[Any] = [[], "bare", 7, {"role": "user", "content": "alone"}, ["text", 1, None]]
    for prompt in prompts:
        book.add(state, LLMEvent(prompt=prompt, completion=prompt, model="m"))
    expected = book.rows("SELECT id, prompt, completion FROM llms ORDER BY seq")
    found = [(row["id"], _text(row["prompt"]), _text(row["completion"])) for row in v2(book)["llms"]]
    assert len(found) == len(expected) > TURNS
    for ours, (event_id, prompt, completion) in zip(found, expected, strict=True):
        assert ours == (event_id, _plain(prompt), _plain(completion))


def _text(said: dict[str, object] | None) -> object:
    return None if said is None else _plain(said["messages"] if said["type"] == "chatml" else said["string"])


def _plain(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_damage_hides_nothing_else(book: Book) -> None:
    """A text that is no JSON goes out as a text, a message that is gone is left out, and the rest is there."""
    state = book.session()
    book.tool(state, "first", {"a": 1})
    book.llm(state, "one", "two")
    book.tool(state, "last", {"b": 2})
    book.change("UPDATE events SET params = '{\"a\": ' WHERE seq = 1")
    book.change("UPDATE messages SET content = 'not JSON' WHERE id = 2")
    book.change("UPDATE messages SET parent = 2 WHERE id = 2")
    found = v2(book)
    assert [row["params"] for row in found["tools"]] == ['{"a": ', '{"b":2}']
    assert found["llms"][0]["prompt"] == {"type": "string", "string": '["not JSON"]'}


def test_without_content(book: Book) -> None:
    """Without content nothing that was said is in the file; ids, times, names and numbers are."""
    session = secretive(book)
    book.change("UPDATE sessions SET tags = '[]'")
    book.change("UPDATE events SET name = 'named', model = CASE kind WHEN 'llms' THEN 'm' END")
    book.change("UPDATE agents SET name = 'somebody'")
    out = raw(book, session, content=False)
    assert SECRET.encode() in raw(book, session)
    assert SECRET.encode() not in out
    found = json.loads(out)
    assert found["llms"][0]["prompt_tokens"] == 10
    assert found["tools"][0]["name"] == "named"


def test_a_session_that_is_recorded_meanwhile(book: Book) -> None:
    """What is committed while an export runs is not in it, and the export holds up no writer."""
    state = book.session()
    for number in range(5):
        book.add(state, ActionEvent(action_type=f"{number}", params="x" * 40_000))
    grown: list[int] = []

    class Slow:
        """A consumer during whose pauses more is recorded."""

        data = b""

        def write(self, data: bytes) -> int:
            self.data += bytes(data)
            book.action(state, "later")
            grown.append(len(data))
            return len(data)

    slow = Slow()
    export(book.path, state.id, "v2", slow)  # type: ignore[arg-type]  # all of a stream that it uses
    found = json.loads(slow.data)
    assert len(grown) > 3
    assert [row["action_type"] for row in found["actions"]] == ["0", "1", "2", "3", "4"]
    assert book.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"format": "xml"}, "xml"),
        ({"format": "csv", "table": "people"}, "people"),
        ({"format": "v2", "table": "llms"}, "v2 has no tables"),
        ({"format": "csv", "each_message_once": True}, "csv cannot"),
    ],
)
def test_wrong_use(book: Book, how: dict[str, Any], named: str) -> None:
    """What cannot be meant is refused by its name, before anything is written."""
    book.session()
    with pytest.raises(WrongUse, match=named):
        raw(book, None, **how)
