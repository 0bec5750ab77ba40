from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentops_local.serialize import MEDIA_LIMIT, dump
from tests.recorder.taping import Tape, shown, spelled
from tests.sdk.records import Programs, hear, tell

Message = dict[str, Any]


class Spoken(dict[str, Any]):
    """A message of a class of its own."""


# Strategies ----------------------------------------------------------------------------------------------------------

_words = st.one_of(
    st.sampled_from(["", "a", "b", "1", "null", "[]", '{"a":1}', 'a "quoted" \\ word\n', "x" * 2100]),
    st.text(max_size=6),
)
_numbers = st.sampled_from([1, True, 1.0, 0, False, 0.0, -0.0, None, "1"])


@st.composite
def _messages(draw: st.DrawFn) -> Message:
    message: Message = {"role": draw(st.sampled_from(["system", "user", "assistant"])), "content": draw(_words)}
    kind = draw(st.integers(0, 4))
    if kind == 1:
        message["content"] = [{"type": "text", "text": draw(_words)}, {"type": "image_url", "image_url": {"url": "u"}}]
    elif kind == 2:
        message["n"] = draw(_numbers)
    elif kind == 3:
        message["content"] = None
        message["tool_calls"] = [{"id": "c", "function": {"name": "f", "arguments": draw(_words)}}]
    return message


_operations = st.one_of(
    st.tuples(st.just("extend"), st.lists(_messages(), min_size=1, max_size=3)),
    st.tuples(st.just("edit"), _words),
    st.tuples(st.just("swap"), _numbers),
    st.tuples(st.sampled_from(["truncate", "branch", "repeat", "copy", "tuple", "inner tuple", "subclass"]), st.none()),
    st.tuples(st.just("other"), st.one_of(st.none(), st.just([]), st.just(()), _words, _messages())),
)
_completions = st.one_of(st.none(), _words, _messages())
_steps = st.lists(
    st.tuples(_operations, st.integers(0, 9), _completions, st.booleans()),
    min_size=1, max_size=12,
)  # fmt: skip


def _edit(message: Message, value: Any) -> Message:
    message["content"] = value
    return message


def _swap(message: Message, value: Any) -> Message:
    message["n"] = value
    return message


def _subclass(message: Message, value: Any) -> Message:
    return Spoken(message)


def _inner_tuple(message: Message, value: Any) -> Message:
    message["parts"] = ({"text": "x"}, ("y",))
    return message


_changes: dict[str, Callable[[Message, Any], Message]] = {
    "edit": _edit,
    "swap": _swap,
    "inner tuple": _inner_tuple,
    "subclass": _subclass,
}


class _Program:
    """A program that keeps one list of messages and does with it what programs do."""

    def __init__(self) -> None:
        self.chat: list[Any] = []
        self._past: list[list[Any]] = []

    def prompt(self, operation: str, value: Any, where: int) -> Any:
        """What it asks next, the very objects."""
        if operation == "other":
            return value
        if operation in _changes and self.chat:
            at = where % len(self.chat)
            self.chat[at] = _changes[operation](self.chat[at], value)
        elif operation == "extend":
            self.chat += value
        elif operation == "truncate":
            del self.chat[where:]
        elif operation == "branch" and self._past:
            self.chat = self._past[where % len(self._past)][: where + 1]
        elif operation == "copy":
            self.chat = copy.deepcopy(self.chat)
        self._past.append(list(self.chat))
        return tuple(self.chat) if operation == "tuple" else self.chat

    def hear(self, completion: Any) -> None:
        """Goes on from an answer."""
        if completion is not None:
            self.chat.append({"role": "assistant", "content": completion} if type(completion) is str else completion)


def _prefixes(prompt: Any, completion: Any) -> Iterator[tuple[bytes, ...]]:
    """What the tree shall hold of a call: each prefix, by what its messages encode to."""
    path = [] if prompt is None else list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
    if completion is not None:
        path.append({"role": "assistant", "content": completion} if type(completion) is str else completion)
    raw = tuple(dump(message, MEDIA_LIMIT) for message in path)
    return (raw[: end + 1] for end in range(len(raw)))


@contextmanager
def _tape(file: Path) -> Iterator[Tape]:
    tape = Tape(file)
    try:
        yield tape
    finally:
        tape.recorder.close()


def _check(tape: Tape, expected: list[tuple[str, str | None, bool, str | None, bool]]) -> None:
    found = {row["id"]: row for row in tape.rows("SELECT id, prompt, completion FROM llms")}
    for id, prompt, prompt_is_text, completion, completion_is_text in expected:
        for name, value, is_text in (
            ("prompt", prompt, prompt_is_text),
            ("completion", completion, completion_is_text),
        ):
            read = found[id][name]
            assert (read if is_text or read is None else spelled(read)) == value


# Laws ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(_steps)
def test_any_conversation_reads_back_as_it_was_and_stands_once(steps: list[Any]) -> None:
    """Whatever a program does with its list of messages, every prompt and completion reads back as it was when it was
    recorded, each prefix has one row, and a second recorder of the same calls finds them all."""
    program = _Program()
    calls = []
    expected = []
    prefixes: set[tuple[bytes, ...]] = set()
    with tempfile.TemporaryDirectory() as folder, _tape(Path(folder) / "a.db") as tape:
        for (operation, value), where, answer, goes_on in steps:
            prompt = program.prompt(operation, copy.deepcopy(value), where)
            completion = copy.deepcopy(answer)
            prefixes.update(_prefixes(prompt, completion))
            facts = (shown(prompt), type(prompt) is str, shown(completion), type(completion) is str)
            calls.append((copy.deepcopy((prompt, completion)), facts))
            expected.append((str(tape.call(prompt, completion).id), *facts))
            if goes_on:
                program.hear(completion)
        _check(tape, expected)
        assert tape.messages() == len(prefixes)
        with _tape(tape.file) as second:
            expected = [(str(second.call(*call).id), *facts) for call, facts in calls]
            _check(second, expected)
        assert tape.messages() == len(prefixes)
        assert tape.sound()


def test_a_conversation_of_n_turns_stores_n_questions_and_n_answers(tape: Tape) -> None:
    """A prompt that goes on from the last one costs the rows of what is new in it."""
    chat: list[Message] = [{"role": "system", "content": "s"}]
    for turn in range(10):
        chat.append({"role": "user", "content": f"q{turn}"})
        tape.call(chat, f"a{turn}")
        chat.append({"role": "assistant", "content": f"a{turn}"})
    assert tape.messages() == 1 + 2 * 10


def test_an_answer_is_found_again_as_the_message_it_becomes(tape: Tape) -> None:
    """A completion given as text is the assistant's message of the next prompt: no row is added for it."""
    question = {"role": "user", "content": "q"}
    tape.call([question], "a")
    before = tape.messages()
    tape.call([question, {"role": "assistant", "content": "a"}])
    assert tape.messages() == before == 2
    assert tape.column("SELECT completion FROM payloads WHERE completion IS NOT NULL") == [
        tape.value("SELECT max(prompt) FROM payloads")
    ]


def test_a_message_edited_in_place_is_another_prefix(tape: Tape) -> None:
    """A program that changes a message it has sent does not change what was recorded of it."""
    chat: list[Message] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "old"}]},
        {"role": "user", "content": "last"},
    ]
    first = tape.call(chat)
    chat[1]["content"][0]["text"] = "new"
    second = tape.call(chat)
    assert tape.prompt(first)[1]["content"][0]["text"] == "old"
    assert tape.prompt(second) == chat
    assert tape.messages() == 1 + 2 + 2


def test_what_python_takes_for_equal_is_told_apart(tape: Tape) -> None:
    """1, True and 1.0 are equal in Python and three texts in JSON: each reads back as what it was."""
    calls = [tape.call([{"role": "user", "n": value}]) for value in (1, True, 1.0, 1)]
    assert [repr(tape.prompt(call)[0]["n"]) for call in calls] == ["1", "True", "1.0", "1"]
    assert tape.messages() == 3


def test_nothing_is_told_apart_from_an_empty_list_and_an_empty_text(tape: Tape) -> None:
    """No prompt is NULL, no messages are [], and an empty text is one."""
    calls = [tape.call(prompt, completion) for prompt, completion in ((None, None), ([], None), ("", ""))]
    found = [(tape.llm(call)["prompt"], tape.llm(call)["completion"]) for call in calls]
    assert found == [(None, None), ("[]", None), ("", "")]


def test_a_long_prompt_is_whole(tape: Tape, other: Tape) -> None:
    """A prompt of 300 messages, written by several statements, reads back in order; found again, it adds nothing."""
    chat = [{"role": "user", "content": f"{number} {'x' * (number % 7)}"} for number in range(300)]
    assert tape.prompt(tape.call(chat, "a")) == chat
    assert other.prompt(other.call(chat, "a")) == chat
    assert tape.messages() == 301


def test_what_was_branched_from_stays(tape: Tape, other: Tape) -> None:
    """Two conversations that part in the middle share what they have in common, whichever recorder goes on."""
    trunk = [{"role": "user", "content": f"t{number}"} for number in range(4)]
    left = [*trunk[:2], {"role": "user", "content": "left"}]
    wholes = [tape.call(trunk), tape.call(left), other.call([*left, trunk[3]]), tape.call([*trunk, trunk[0]])]
    assert [tape.prompt(call) for call in wholes] == [trunk, left, [*left, trunk[3]], [*trunk, trunk[0]]]
    assert tape.messages() == 4 + 1 + 1 + 1


def test_only_roots_and_branches_are_found_by_content(tape: Tape) -> None:
    """A message that continues the row before it has no hash, so that the index stays small; every other has one."""
    tape.call([{"role": "user", "content": text} for text in "abc"], "d")
    tape.call([{"role": "user", "content": text} for text in "axy"])
    tape.call([{"role": "user", "content": text} for text in "zy"])
    assert tape.column("SELECT id FROM messages WHERE hash IS NOT NULL ORDER BY id") == [1, 5, 7]
    assert tape.value("SELECT count(*) FROM messages WHERE (hash IS NULL) <> (coalesce(parent, -1) = id - 1)") == 0


_ASKER = """
import json, sys
from pathlib import Path
from agentops_local.event import LLMEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState

recorder = Recorder(Path(sys.argv[1]))
state = SessionState(sys.argv[2])
recorder.start(state)
for line in sys.stdin:
    prompt, completion = json.loads(line)
    print(recorder.record(state, LLMEvent(prompt=prompt, completion=completion), None, None))
recorder.close()
"""


def test_two_processes_share_one_conversation(tape: Tape, programs: Programs) -> None:
    """Processes that take turns in one conversation store each message once, and each sees what the other has said."""
    tape.recorder.close()
    askers = [programs.start(_ASKER, tape.file, tape.state.id) for _ in range(2)]
    chat = [{"role": "system", "content": "s"}]
    for turn in range(8):
        chat.append({"role": "user", "content": f"q{turn}"})
        tell(askers[turn % 2], json.dumps([chat, f"a{turn}"]))
        assert hear(askers[turn % 2]) == "True"
        chat.append({"role": "assistant", "content": f"a{turn}"})
    for asker in askers:
        programs.finish(asker)
    assert tape.messages() == len(chat) == 17
    assert json.loads(tape.value("SELECT prompt FROM llms ORDER BY seq DESC LIMIT 1")) == chat[:-1]
    assert tape.sound()


def test_what_is_remembered_is_weighed_as_what_it_is(tape: Tape) -> None:
    """Conversations that all begin alike weigh what they are: branch after branch, none counts for those before it, so
    that nothing is forgotten before its time."""
    for number in range(200):
        chat = [
            {"role": "system", "content": "s"},
            *({"role": "user", "content": f"{number} {turn}"} for turn in "abc"),
        ]
        for end in range(2, 5):
            tape.call(chat[:end], "x" * 100)
    tree = tape.recorder._tree
    kept = [conversation for group in tree._conversations.values() for conversation in group]
    real = sum(len(dump(message)) for conversation in kept for message in conversation.messages)
    assert 0.5 * real < tree._bytes < 2 * real
