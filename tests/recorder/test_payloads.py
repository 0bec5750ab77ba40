from __future__ import annotations

import json
import re
import tempfile
from base64 import b64encode
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentops_local.event import ActionEvent, ErrorEvent, ToolEvent
from agentops_local.recorder.payload import LONG, Long, Recipe, cut
from agentops_local.redact import make_redactor
from agentops_local.serialize import dump
from tests.recorder.taping import Tape

CANARY = "canary-5f3a9c"
IMAGE = b64encode(Random(1).randbytes(750_000)).decode()

# Texts about as long as what is put aside: quotes, backslashes and letters of several bytes at either end.
_awkward = st.text(st.sampled_from('"\\/\n\t\x1f\x7f,:[]{}é\u2028😀0\ufffd\x00'), max_size=12)
_texts = st.builds(lambda head, tail, over: _of_length(head, tail, LONG + over), _awkward, _awkward, st.integers(-3, 3))
_any_text = st.one_of(_texts, _awkward)


def _of_length(head: str, tail: str, length: int) -> str:
    """A text whose JSON has this many bytes."""
    return head + "x" * (length - len(dump(head + tail))) + tail


def _stored(value: object) -> object:
    """A value as it reads back."""
    return json.loads(dump(value))


def _whole(payload: str | Recipe) -> str:
    if isinstance(payload, str):
        return payload
    return "".join(piece if isinstance(piece, str) else piece.text for piece in payload.pieces)


def test_a_long_text_stands_once_wherever_it_appears(tape: Tape) -> None:
    """An image in params, in a chat message, in returns and as a screenshot of 20 events takes the room of one."""
    for turn in range(5):
        tape.add(ActionEvent(params={"image": IMAGE, "turn": turn}, screenshot=IMAGE))
        tape.add(ToolEvent(name="camera", returns=IMAGE))
        tape.add(ToolEvent(name="album", params=[turn, IMAGE], logs=IMAGE))
        part = {"type": "image_url", "image_url": {"url": IMAGE}}
        tape.call([{"role": "user", "content": [{"type": "text", "text": str(turn)}, part]}])
    tape.recorder.close()
    assert tape.value("SELECT count(*) FROM events") == 20
    assert tape.value("SELECT count(*) FROM blobs") == 1
    assert sum(file.stat().st_size for file in tape.file.parent.iterdir()) < 2_500_000
    assert tape.column("SELECT DISTINCT returns FROM tools WHERE name = 'camera'") == [IMAGE]
    assert tape.column("SELECT DISTINCT screenshot FROM actions") == [IMAGE]
    for prompt in tape.column("SELECT prompt FROM llms"):
        assert json.loads(prompt)[0]["content"][1]["image_url"]["url"] == IMAGE


@pytest.mark.parametrize("over", [-1, 0])
def test_a_text_is_put_aside_from_2048_bytes(tape: Tape, over: int) -> None:
    """What counts is the literal in JSON, its quotes and escapes included."""
    text = _of_length('"é', "\n", LONG + over)
    assert len(dump(text)) == LONG + over
    tape.add(ToolEvent(returns=text))
    assert tape.value("SELECT count(*) FROM blobs") == (over == 0)
    assert tape.value("SELECT typeof(returns) FROM events") == ("blob" if over == 0 else "text")
    assert tape.value("SELECT returns FROM tools") == text


@given(
    st.recursive(_any_text, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_any_text, inner, max_size=3))
)
def test_the_pieces_of_a_payload_are_the_payload(value: object) -> None:
    """Cut and put together again it is the same to the byte; what is put aside is one literal of 2048 bytes or more,
    and what stands for itself holds no such literal."""
    raw = dump(value)
    payload = cut(raw)
    assert _whole(payload).encode() == raw
    if isinstance(payload, Recipe):
        aside = [piece.text for piece in payload.pieces if isinstance(piece, Long)]
        assert aside
        assert all(isinstance(json.loads(text), str) and len(text.encode()) >= LONG for text in aside)
        assert all(not isinstance(piece, str) or len(piece) < len(raw) for piece in payload.pieces)
    else:
        assert not any(len(text) >= LONG for text in re.findall(rb'"(?:[^"\\]|\\.)*"', raw))


@settings(max_examples=25)
@given(st.lists(st.tuples(_any_text, _any_text, _any_text), min_size=1, max_size=3))
def test_every_field_reads_back_whole(texts: list[tuple[str, str, str]]) -> None:
    """Texts around the length from which they are put aside come back from every column that holds payloads."""
    with tempfile.TemporaryDirectory() as folder:
        tape = Tape(Path(folder) / "a.db")
        try:
            for one, two, three in texts:
                value = {one: [two, {"k": three}], "again": one}
                action = tape.add(ActionEvent(params=value, returns=[one, two], logs=[three], screenshot=two))
                error = tape.add(ErrorEvent(error_type="e", details={"d": one}, logs=two))
                call = tape.call([{"role": "user", "content": [value, three]}], one)
                row = tape.row("SELECT * FROM payloads WHERE id = ?", str(action.id))
                found = [json.loads(row[name]) for name in ("params", "returns", "logs", "screenshot")]
                assert found == [_stored(part) for part in (value, [one, two], [three], two)]
                row = tape.row("SELECT * FROM errors WHERE seq = (SELECT max(seq) FROM errors)")
                assert (json.loads(row["details"]), row["logs"]) == (_stored({"d": one}), _stored(two))
                assert error.id != action.id
                assert tape.prompt(call) == _stored([{"role": "user", "content": [value, three]}])
                assert tape.llm(call)["completion"] == _stored(one)
            assert tape.value("SELECT count(*) = count(DISTINCT text) FROM blobs") == 1
        finally:
            tape.recorder.close()


def test_a_recipe_may_name_several_texts(tape: Tape) -> None:
    """Long texts beside one another, twice, and as a key: each has one row, and all come back in their places."""
    one, two, three = ("1" * LONG, '2"' * LONG, "3\\" * LONG)
    value = [one, two, one, "short", {three: two, "k": [three]}]
    tape.add(ToolEvent(params=value, returns=one))
    assert tape.value("SELECT count(*) FROM blobs") == 3
    assert json.loads(tape.value("SELECT params FROM tools")) == value
    recipe = json.loads(tape.value("SELECT CAST(params AS TEXT) FROM events"))
    assert sum(type(piece) is int for piece in recipe) == 6
    assert sum(len(piece) for piece in recipe if type(piece) is str) < 100


def test_what_is_redacted_from_a_prompt_is_in_no_file(project: Path) -> None:
    """A secret in prompts and answers, short or long, at first or in a conversation that goes on, never reaches the
    disk: not the database, not its WAL."""
    tape = Tape(project / ".agentops" / "agentops.db", make_redactor([re.compile(r"canary-\w+"), "password"]))
    long = f"{CANARY} {'x' * LONG} {CANARY}"
    chat: list[object] = [{"role": "system", "content": f"the key is {CANARY}"}]
    first = tape.call(chat, f"so it is {CANARY}")
    chat += [{"role": "user", "content": [{"type": "text", "text": long}], "password": CANARY}]
    tape.call(chat, {"role": "assistant", "content": long})
    tape.call(long, long)
    tape.call({"role": "user", CANARY: CANARY})
    assert tape.prompt(first) == [{"role": "system", "content": "the key is [redacted]"}]
    assert tape.llm(first)["completion"] == "so it is [redacted]"
    assert CANARY.encode() not in tape.text()
    tape.recorder.close()
    assert CANARY.encode() not in tape.text()
    assert b"[redacted]" in tape.text()


def test_prompts_that_differ_in_what_is_redacted_are_one(project: Path) -> None:
    """What is stored tells messages apart, not what was taken from them."""
    tape = Tape(project / ".agentops" / "agentops.db", make_redactor("password"))
    calls = [tape.call([{"role": "user", "content": "q", "password": word}]) for word in ("one", "two", "one")]
    assert {tape.llm(call)["prompt"] for call in calls} == {'[{"role":"user","content":"q","password":"[redacted]"}]'}
    assert tape.messages() == 1
    tape.recorder.close()
